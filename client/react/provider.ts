// Hands a connection to the hooks below it: `<ChatProvider chat={connect({url, token})}>`. Who made the connection closes
// it.

import { createContext, createElement, type ReactElement, type ReactNode, useContext } from 'react';
import type { Connection } from '../connection.ts';

const ChatContext = createContext<Connection | null>(null);

export interface ChatProviderProps {
  readonly chat: Connection;
  readonly children?: ReactNode;
}

export function ChatProvider({ chat, children }: ChatProviderProps): ReactElement {
  return createElement(ChatContext, { value: chat }, children);
}

/** Throws where no ChatProvider is above. */
export function useConnection(): Connection {
  const chat = useContext(ChatContext);
  if (!chat) throw new Error('useChat, useRoom and the like need a <ChatProvider> above them');
  return chat;
}
