// What the server behind the page offers beyond chat itself. The page shows a place for each; a disabled one where the
// server has none.

export const capabilities: { readonly attachments: boolean; readonly search: boolean } = {
  attachments: false,
  search: false,
};
