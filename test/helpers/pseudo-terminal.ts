// The mayfly command at a terminal, as a person has it: Debian's script(1) makes a pseudo-terminal, and the test types and reads.
//
//   const terminal = await sitDown({ args: ["run", "-it", image, "sh"], env: { MAYFLY_URL: url } });
//   terminal.type("echo hello\r");
//   await terminal.shows(/hello/);
//   await terminal.resize({ rows: 50, columns: 132 });
//   const { exitCode, before, after } = await terminal.ended;

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { ROOT } from "./process.ts";

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

export interface Sitting {
  /** The command's exit code, and the terminal's modes before and after it, as `stty -g` writes them. */
  readonly exitCode: number;
  readonly before: string;
  readonly after: string;
}

export interface PseudoTerminal {
  /** All that the terminal has been written since the command was started. */
  readonly screen: string;
  /** The process of the command itself. */
  readonly pid: number;
  type(keys: string): void;
  /**
   * Resolves once what came since the last time matches; what comes after the match is left for the next time. Rejects, with all
   * that is on the screen, if the command ends before, or it takes longer than a person would wait.
   */
  shows(pattern: RegExp): Promise<void>;
  /** The window's new size, of which the kernel tells the command. */
  resize(size: Size): Promise<void>;
  /** Its modes now, as `stty -a` writes them. */
  modes(): Promise<string>;
  readonly ended: Promise<Sitting>;
  /** Ends everything. Safe to repeat. */
  leave(): void;
}

/** Less than a test's limit, so that its failure says what was seen instead. */
const PATIENCE_MS = 60_000;

/** What tells the test where things begin and end; written by the shell around the command. */
const WRAPPER = `
trap : INT QUIT
stty rows "$1" columns "$2"; shift 2
echo "<tty $(tty)><modes $(stty -g)>"
sh -c 'echo "<pid $$>"; exec "$@"' sh "$@"
echo "<exit $?><modes $(stty -g)>"
`;

export async function sitDown(options: {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly size?: Size;
}): Promise<PseudoTerminal> {
  const { rows, columns } = options.size ?? { rows: 24, columns: 80 };
  const words = ["sh", "-c", WRAPPER, "sh", String(rows), String(columns), process.execPath, `${ROOT}/cli/main.ts`];
  const command = [...words, ...options.args].map(quote).join(" ");
  const child = spawn("script", ["-qfec", command, "/dev/null"], {
    env: { PATH: process.env.PATH, SHELL: "/bin/sh", ...options.env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const terminal = new Terminal(child);
  await terminal.shows(/<pid \d+>/);
  return terminal;
}

class Terminal implements PseudoTerminal {
  readonly ended: Promise<Sitting>;
  readonly #child: ChildProcess;
  #screen = "";
  #seen = 0;
  #over = false;
  #wake = () => {};

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdin?.on("error", () => {}); // The command may end while somebody types.
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#screen += text;
      this.#wake();
    });
    this.ended = once(child, "close").then(() => {
      this.#over = true;
      this.#wake();
      return this.#sitting();
    });
    this.ended.catch(() => {});
  }

  get screen(): string {
    return this.#screen.replace(/^.*?<pid \d+>\r\n/s, "").replace(/<exit .*$/s, "");
  }

  get pid(): number {
    return Number(this.#fact(/<pid (\d+)>/));
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  async shows(pattern: RegExp): Promise<void> {
    let isLate = false;
    const patience = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, PATIENCE_MS);
    try {
      await this.#look(pattern, () => isLate);
    } finally {
      clearTimeout(patience);
    }
  }

  async #look(pattern: RegExp, isLate: () => boolean): Promise<void> {
    for (;;) {
      const match = pattern.exec(this.#screen.slice(this.#seen));
      if (match) {
        this.#seen += match.index + match[0].length;
        return;
      }
      if (this.#over || isLate()) throw new Error(`${pattern} is not on the screen:\n${JSON.stringify(this.#screen)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async resize({ rows, columns }: Size): Promise<void> {
    await this.#stty("rows", String(rows), "columns", String(columns));
  }

  modes(): Promise<string> {
    return this.#stty("-a");
  }

  leave(): void {
    if (!this.#over) this.#child.kill("SIGKILL"); // The terminal hangs up with it.
  }

  async #stty(...words: string[]): Promise<string> {
    const stty = spawn("stty", ["-F", this.#fact(/<tty (\S+)>/), ...words], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    stty.stdout.on("data", (chunk) => {
      text += chunk;
    });
    const [code] = await once(stty, "close");
    if (code !== 0) throw new Error(`stty ${words.join(" ")} ended with ${code}`);
    return text;
  }

  #sitting(): Sitting {
    const [, before = ""] = /<modes ([^>]*)>/.exec(this.#screen) ?? [];
    const [, code = "", after = ""] = /<exit (\d+)><modes ([^>]*)>/.exec(this.#screen) ?? [];
    if (code === "") throw new Error(`the terminal was left before the command ended:\n${this.#screen}`);
    return { exitCode: Number(code), before, after };
  }

  #fact(pattern: RegExp): string {
    const [, fact] = pattern.exec(this.#screen) ?? [];
    if (fact === undefined) throw new Error(`nothing like ${pattern} was said:\n${this.#screen}`);
    return fact;
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
