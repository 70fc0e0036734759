// The next moment at which drawing makes sense: a frame where there are frames, soon where there are none, as in a page
// that nobody looks at. Used by observed.ts; needs no DOM.

/** Hidden pages get no frames, and their title still counts. */
const hiddenMs = 250;
const frameMs = 16;

interface Frames {
  readonly requestAnimationFrame?: (task: () => void) => unknown;
}

/** Runs `task` once, at the next frame or a little later. */
export function atNextFrame(task: () => void): void {
  const { requestAnimationFrame } = globalThis as Frames;
  if (!requestAnimationFrame) {
    setTimeout(task, frameMs);
    return;
  }
  let isDone = false;
  const run = (): void => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    task();
  };
  const timer = setTimeout(run, hiddenMs);
  requestAnimationFrame(run);
}
