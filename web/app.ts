// The page's entry: the login, then the chat, then the login again.

import { showChat } from './chat-view.ts';
import { showLogin } from './login-view.ts';
import { Session } from './session.ts';

const root = document.getElementById('app');
if (!root) throw new Error('index.html has no #app');

const session = new Session();

function show(element: HTMLElement): void {
  const again = () => show(element);
  if (session.user) showChat(element, session, again);
  else showLogin(element, session, again);
}

show(root);
