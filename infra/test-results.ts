// The parts of vitest's results that the reporters here read.

export interface TestCase {
  readonly fullName: string;
  result(): { readonly state: string; readonly note?: string | undefined };
}

export interface TestModule {
  state(): string;
  readonly children: { allTests(): Iterable<TestCase> };
}

export function casesOf(modules: readonly TestModule[]): TestCase[] {
  return modules.flatMap((module) => [...module.children.allTests()]);
}
