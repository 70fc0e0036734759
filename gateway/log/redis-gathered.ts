// Calls that one task makes, gathered into one: what redis-tail.ts asks of many shards leaves as one command.

interface Call<In, Out> {
  readonly input: In;
  readonly resolve: (output: Out) => void;
  readonly reject: (error: unknown) => void;
}

export class Gathered<In, Out> {
  readonly #run: (inputs: readonly In[]) => Promise<readonly Out[]>;
  #calls: Call<In, Out>[] = [];

  /** `run` answers each input, in their order; where it rejects all of them do. */
  constructor(run: (inputs: readonly In[]) => Promise<readonly Out[]>) {
    this.#run = run;
  }

  call(input: In): Promise<Out> {
    return new Promise((resolve, reject) => {
      this.#calls.push({ input, resolve, reject });
      if (this.#calls.length === 1) queueMicrotask(() => void this.#runAll());
    });
  }

  async #runAll(): Promise<void> {
    const calls = this.#calls;
    this.#calls = [];
    try {
      const outputs = await this.#run(calls.map(({ input }) => input));
      for (const [i, { resolve }] of calls.entries()) resolve(outputs[i] as Out);
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
  }
}
