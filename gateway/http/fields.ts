// Fields that several routes take, as schemas; each description says what is expected, in errors and in the document.

import { Type } from '@sinclair/typebox';
import { Identifier } from '../../core/protocol/frames.ts';
import { displayNameLengthMax, urlLengthMax } from './limits.ts';

export const Email = Type.String({
  pattern: '^[^\\s@]{1,64}@[^\\s@]{1,190}$',
  description: 'an address such as ann@example.com',
});
export const DisplayName = Type.String({
  minLength: 1,
  maxLength: displayNameLengthMax,
  description: `1 to ${displayNameLengthMax} characters`,
});
export const Url = Type.String({
  pattern: '^(https?://[^\\s]+|/[^\\s]*)$',
  maxLength: urlLengthMax,
  description: `an http or https address, at most ${urlLengthMax} characters`,
});
/** A field that may be left out, or set to nothing. */
export const clearable = <T extends typeof Url>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()], { description: `${schema.description}, or null` }));

export const RoomPath = Type.Object({ room: Identifier });
