// The chat page's first file: shows the login, or the chat of who is logged in.

import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { ChatPage } from './chat-page.tsx';
import { LoginPage } from './login/login-page.tsx';
import { Session } from './session.ts';
import { applyTheme, currentTheme } from './theme.ts';
import { NoticeProvider } from './ui/notice.tsx';

const session = new Session();

function App() {
  const [user, setUser] = useState(session.user?.id ?? null);
  useEffect(() => {
    session.onEnd = () => setUser(null);
    return () => {
      session.onEnd = null;
    };
  }, []);
  const onLogin = (): void => setUser(session.user?.id ?? null);
  if (user === null) return <LoginPage session={session} onLogin={onLogin} />;
  return (
    <NoticeProvider>
      <ChatPage key={user} session={session} />
    </NoticeProvider>
  );
}

applyTheme(currentTheme());
const root = document.getElementById('app');
if (root)
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
