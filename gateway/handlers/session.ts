// authenticate: a new token for this socket, before or after the old one expired. ping: the server's time.

import { isRefusal, refuse } from '../../core/protocol/codes.ts';
import type { Handler } from './handling.ts';

export const authenticate: Handler<'authenticate'> = async (parts, socket, { token }) => {
  const verified = await parts.auth.verifyToken(token, socket.session);
  if (isRefusal(verified)) return verified;
  if (verified.user !== socket.user.id) return refuse('FORBIDDEN', 'the token is of another user');
  socket.expiresAt = verified.expiresAt;
  socket.isExpiryTold = false;
  // From here on it belongs to that login, and ends with it.
  if (verified.session !== null) socket.session = verified.session;
  return [verified.expiresAt];
};

export const ping: Handler<'ping'> = ({ clock }) => [clock.now()];
