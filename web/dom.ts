// Elements in one call, and lists that change as little as they must. Text only ever becomes text nodes; there is no way
// here to set markup. Used by every view.

interface Handlers {
  readonly onclick?: (event: MouseEvent) => void;
  readonly oninput?: (event: InputEvent) => void;
  readonly onkeydown?: (event: KeyboardEvent) => void;
  readonly onsubmit?: (event: SubmitEvent) => void;
  readonly onscroll?: (event: Event) => void;
  readonly oncancel?: (event: Event) => void;
  readonly onclose?: (event: Event) => void;
  readonly onfocusout?: (event: FocusEvent) => void;
}

/** Attributes: true sets one without a value, false and null leave it out. */
export type Props = Handlers & { readonly [attribute: string]: unknown };

export type Child = Node | string | null | false;

export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/** One line of a list: made again only when one of its parts is not the same as before. */
export interface Row {
  readonly key: string;
  readonly parts: readonly unknown[];
  make(): HTMLElement;
}

/** Shows rows in a parent that nobody else changes. */
export class RowList {
  readonly #parent: HTMLElement;
  #shown = new Map<string, { readonly row: Row; readonly element: HTMLElement }>();

  constructor(parent: HTMLElement) {
    this.#parent = parent;
  }

  show(rows: readonly Row[]): void {
    const shown = new Map<string, { row: Row; element: HTMLElement }>();
    for (const row of rows) {
      const old = this.#shown.get(row.key);
      shown.set(row.key, { row, element: old && isSame(old.row, row) ? old.element : row.make() });
    }
    for (const [key, { element }] of this.#shown) if (shown.get(key)?.element !== element) element.remove();
    let next = this.#parent.firstChild;
    for (const { element } of shown.values()) {
      if (element === next) next = next.nextSibling;
      else this.#parent.insertBefore(element, next);
    }
    this.#shown = shown;
  }
}

function isSame(a: Row, b: Row): boolean {
  return a.parts.length === b.parts.length && a.parts.every((part, i) => part === b.parts[i]);
}
