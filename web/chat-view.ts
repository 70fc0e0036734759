// The chat page put together: sidebar, room, details; the address (#room) says which room is open. Draws at most once a
// frame, however much happens.

import { Chat } from './chat.ts';
import { h } from './dom.ts';
import { MembersView } from './members-view.ts';
import { RoomView } from './room-view.ts';
import type { Session } from './session.ts';
import { SidebarView } from './sidebar-view.ts';

/** A page that nobody looks at for this long is away. */
const awayAfterMs = 60_000;
const toastMs = 5000;
/** As in styles.css: wider than this, list and room are both shown. */
const wideQuery = '(min-width: 721px)';
/** Hidden pages get no frames; their title still counts. */
const hiddenDrawMs = 250;

export function showChat(root: HTMLElement, session: Session, onLoggedOut: () => void): void {
  const { user } = session;
  if (!user) return onLoggedOut();
  const chat = new Chat(session, user);
  const page = new ChatPage(root, chat);
  session.onEnd = () => {
    session.onEnd = null;
    page.remove();
    chat.connection.close();
    onLoggedOut();
  };
  chat.connection.on('state', (state) => {
    if (state.name === 'stopped' && state.reason === 'unauthorized') session.end();
  });
}

class ChatPage {
  readonly #chat: Chat;
  readonly #element: HTMLElement;
  readonly #sidebar: SidebarView;
  readonly #room: RoomView;
  readonly #members: MembersView;
  readonly #toast = h('div', { class: 'toast', role: 'status', hidden: true });
  readonly #listening = new AbortController();
  #isDrawing = false;
  /** Whether the list has come and something was opened for it. */
  #hasStarted = false;
  /** The room of the address, as it was last followed or set. */
  #address: string | null = null;
  #awayTimer: ReturnType<typeof setTimeout> | null = null;
  #toastTimer: ReturnType<typeof setTimeout> | null = null;
  #status: 'online' | 'away' = 'online';

  constructor(root: HTMLElement, chat: Chat) {
    this.#chat = chat;
    this.#sidebar = new SidebarView(chat);
    this.#members = new MembersView(chat, () => this.#showMembers(false));
    this.#room = new RoomView(chat, () => this.#showMembers(this.#members.element.hidden !== false));
    const { signal } = this.#listening;
    this.#element = h(
      'div',
      { class: 'chat' },
      this.#sidebar.element,
      this.#room.element,
      this.#members.element,
      this.#toast,
    );
    root.replaceChildren(this.#element);
    chat.on('change', () => this.#drawSoon());
    chat.on('notice', (sentence) => this.#showToast(sentence));
    chat.connection.on('state', ({ name }) => {
      if (name === 'online' && this.#status === 'away') chat.connection.tell('set_status', 'away');
    });
    window.addEventListener('hashchange', () => this.#drawSoon(), { signal });
    window.addEventListener('online', () => chat.connection.wake(), { signal });
    document.addEventListener('visibilitychange', () => this.#onVisibility(), { signal });
    this.#draw();
  }

  remove(): void {
    this.#listening.abort();
    if (this.#awayTimer !== null) clearTimeout(this.#awayTimer);
    this.#element.remove();
    document.title = 'Parley';
  }

  #drawSoon(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    const draw = (): void => {
      this.#isDrawing = false;
      if (!this.#listening.signal.aborted) this.#draw();
    };
    if (document.hidden) setTimeout(draw, hiddenDrawMs);
    else requestAnimationFrame(draw);
  }

  #draw(): void {
    this.#matchAddress();
    if (this.#chat.current === null) this.#members.element.hidden = true;
    this.#element.classList.toggle('has-room', this.#chat.current !== null);
    this.#sidebar.update();
    this.#room.update();
    this.#members.update();
    const { unread, current } = this.#chat;
    const name = current ? `${this.#chat.title(current)} · Parley` : 'Parley';
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
  }

  /** The address opens a room where the user changed it; else it says which one was opened. */
  #matchAddress(): void {
    const chat = this.#chat;
    if (!chat.isLoaded) return;
    const address = roomOfAddress();
    if (!this.#hasStarted && address === null) this.#openNewest();
    this.#hasStarted = true;
    if (address !== this.#address) chat.open(address);
    this.#address = chat.current?.body.id ?? null;
    if (this.#address !== address)
      history.replaceState(null, '', `#${encodeURIComponent(this.#address ?? '')}`);
  }

  /** Where list and room stand side by side, an empty place would only ask for a click. */
  #openNewest(): void {
    const [newest] = this.#chat.entries;
    if (newest && !this.#chat.current && matchMedia(wideQuery).matches) this.#chat.open(newest.body.id);
  }

  #showMembers(isShown: boolean): void {
    this.#members.element.hidden = !isShown;
    this.#members.forget();
    this.#room.setDetailsShown(isShown);
    this.#drawSoon();
  }

  #showToast(sentence: string): void {
    this.#toast.textContent = sentence;
    this.#toast.hidden = false;
    if (this.#toastTimer !== null) clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => {
      this.#toast.hidden = true;
    }, toastMs);
  }

  #onVisibility(): void {
    if (this.#awayTimer !== null) clearTimeout(this.#awayTimer);
    this.#awayTimer = null;
    if (document.hidden) {
      this.#awayTimer = setTimeout(() => this.#setStatus('away'), awayAfterMs);
      return;
    }
    this.#setStatus('online');
    this.#chat.connection.wake();
    this.#drawSoon();
  }

  #setStatus(status: 'online' | 'away'): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#chat.connection.tell('set_status', status);
  }
}

function roomOfAddress(): string | null {
  try {
    const id = decodeURIComponent(location.hash.slice(1));
    return id === '' ? null : id;
  } catch {
    // A hand-written address that is no encoding of anything.
    return null;
  }
}
