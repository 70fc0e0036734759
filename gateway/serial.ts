// Runs tasks with the same key one after another, and those of different keys side by side. Used where a change depends
// on what an earlier one of the same target made of it.

export class Serial {
  readonly #tails = new Map<string, Promise<unknown>>();

  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    // An earlier task's failure is its caller's to handle, not ours.
    const done = before.then(task, task);
    this.#tails.set(key, done);
    const forget = () => {
      if (this.#tails.get(key) === done) this.#tails.delete(key);
    };
    done.then(forget, forget);
    return done;
  }
}
