// edit_message, delete_message, react: changes of a message that is there. rooms.ts has the rules; they wait for the
// store, which knows the message.

import { isRefusal, type Refusal } from '../../core/protocol/codes.ts';
import type { Appended } from '../rooms.ts';
import type { Answer, Handler } from './handling.ts';

export const editMessage: Handler<'edit_message'> = async (
  { rooms },
  { user },
  { room, target, content },
) => {
  return answer(await rooms.edit(user.id, room, target, content));
};

export const deleteMessage: Handler<'delete_message'> = async ({ rooms }, { user }, { room, target }) => {
  return answer(await rooms.delete(user.id, room, target));
};

export const react: Handler<'react'> = async ({ rooms }, { user }, { room, target, emoji, on }) => {
  return answer(await rooms.react(user.id, room, target, emoji, on));
};

function answer(appended: Appended | Refusal): Answer {
  return isRefusal(appended) ? appended : [appended.seq, appended.ts];
}
