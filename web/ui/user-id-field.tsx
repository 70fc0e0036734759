// The field of a dialog in which a user is named by his id. Used where a member is added and a direct room is opened.

import { Field } from './field.tsx';

/** `name` is `user` in the form; `hint` goes on where an id is found. */
export function UserIdField({ hint = '' }: { readonly hint?: string }) {
  return (
    <Field
      label="User id"
      name="user"
      required
      maxLength={64}
      autoComplete="off"
      spellCheck={false}
      hint={`Everybody can copy their own id from the menu at their name.${hint}`}
    />
  );
}
