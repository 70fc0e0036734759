// What chat.ts uses of k6's own modules, which exist only inside k6. After https://grafana.com/docs/k6/latest/javascript-api/

declare module 'k6/websockets' {
  interface Params {
    readonly headers?: Readonly<Record<string, string>>;
  }
  export class WebSocket {
    constructor(url: string, protocols?: string | null, params?: Params);
    binaryType: 'arraybuffer';
    readonly readyState: number;
    onmessage: (message: { readonly data: ArrayBuffer }) => void;
    onclose: (closed: { readonly code?: number }) => void;
    onerror: (failed: { readonly error?: string }) => void;
    send(data: ArrayBuffer): void;
    close(): void;
  }
}

declare module 'k6/metrics' {
  export class Counter {
    constructor(name: string);
    add(value: number): void;
  }
  export class Trend {
    constructor(name: string, isTime: boolean);
    add(value: number): void;
  }
}

declare module 'k6/data' {
  export class SharedArray<T> extends Array<T> {
    constructor(name: string, make: () => T[]);
  }
}

declare module 'k6/execution' {
  export const scenario: {
    readonly iterationInTest: number;
    /** Unix time in ms. */
    readonly startTime: number;
  };
}
