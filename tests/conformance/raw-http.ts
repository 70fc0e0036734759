// An HTTP client by hand over one TCP connection for the engine suite: it sends any bytes, one request after the other,
// and sees every header line and the exact body. Nothing of it belongs to one runtime.

import { connect, type Socket } from 'node:net';

const deadlineMs = 20_000;

export interface Answer {
  readonly status: number;
  /** Lines as they came, names in lower case. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  readonly body: string;
}

export class RawHttp {
  readonly #tcp: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #isGone = false;
  #changed = (): void => {};

  constructor(port: number, host = '127.0.0.1') {
    this.#tcp = connect({ port, host });
    this.#tcp.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#changed();
    });
    const gone = () => {
      this.#isGone = true;
      this.#changed();
    };
    this.#tcp.on('close', gone);
    this.#tcp.on('error', gone);
  }

  write(text: string): void {
    this.#tcp.write(text);
  }

  /** Sends a request and answers what came back. `body`: with its Content-Length, unless the headers say how it comes. */
  async request(
    method: string,
    path: string,
    { headers = {}, body = '' }: { headers?: Readonly<Record<string, string>>; body?: string } = {},
  ): Promise<Answer> {
    const isChunked = headers['Transfer-Encoding'] !== undefined;
    const length = body === '' || isChunked ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
    const lines = Object.entries({ Host: 'localhost', ...length, ...headers });
    this.write(
      `${method} ${path} HTTP/1.1\r\n${lines.map((line) => line.join(': ')).join('\r\n')}\r\n\r\n${body}`,
    );
    return this.answer(method === 'HEAD');
  }

  /** The next answer; to a HEAD it has no body, whatever its length says. */
  answer(isHead = false): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => finish(() => reject(new Error('waited in vain for an answer'))),
        deadlineMs,
      );
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#changed = () => {};
        settle();
      };
      this.#changed = () => {
        const answer = this.#take(isHead);
        if (answer !== null) finish(() => resolve(answer));
        else if (this.#isGone) finish(() => reject(new Error('gone before an answer')));
      };
      this.#changed();
    });
  }

  #take(isHead: boolean): Answer | null {
    const end = this.#bytes.indexOf('\r\n\r\n');
    if (end < 0) return null;
    const [first = '', ...lines] = this.#bytes.subarray(0, end).toString('latin1').split('\r\n');
    const headers = lines.map((line) => {
      const at = line.indexOf(':');
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
    });
    const told = headers.find(([name]) => name === 'content-length')?.[1];
    const length = isHead ? 0 : Number(told ?? 0);
    if (this.#bytes.length < end + 4 + length) return null;
    const body = this.#bytes.subarray(end + 4, end + 4 + length).toString();
    this.#bytes = this.#bytes.subarray(end + 4 + length);
    return { status: Number(first.split(' ')[1]), headers, body };
  }

  /** Goes away without a word. */
  destroy(): void {
    this.#tcp.destroy();
  }
}

/** The values of all lines with this name. */
export function valuesOf(answer: Answer, name: string): string[] {
  return answer.headers.flatMap(([each, value]) => (each === name ? [value] : []));
}
