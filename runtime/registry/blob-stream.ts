// A generator of bytes as a Node stream that lets go at once.

import { Readable } from "node:stream";

/** As large as a few chunks of a socket: enough for the reader to be busy while the next ones come. */
const BUFFER_BYTES = 256 * 1024;

/**
 * `Readable.from` waits, when it is destroyed, until the generator has its next chunk, and a connection that stands still gives none;
 * so `abandon` is called first, which must make the generator end.
 */
export function streamOf(bytes: AsyncGenerator<Uint8Array>, abandon: () => void): Readable {
  const pull = async (stream: Readable) => {
    try {
      const { done, value } = await bytes.next();
      stream.push(done ? null : value);
    } catch (error) {
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  };
  return new Readable({
    highWaterMark: BUFFER_BYTES,
    read() {
      void pull(this);
    },
    destroy(error, done) {
      if (!this.readableEnded) abandon();
      const ended = () => done(error);
      bytes.return(undefined).then(ended, ended);
    },
  });
}
