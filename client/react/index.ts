// biome-ignore-all lint/performance/noBarrelFile: the package's entry; inside of this repository files are imported by name.
// What `@parley/client/react` is to an application.

export {
  type Chat,
  type PresenceHook,
  type RoomHook,
  type TypingHook,
  useChat,
  useName,
  usePresence,
  useRoom,
  useTyping,
} from './hooks.ts';
export { ChatProvider, type ChatProviderProps } from './provider.ts';
