import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

// For every process that a test starts, as `hub up` and the `hub` command have one: to strip the types of some hundred sources takes longer than
// all else in a start. A test of what happens without a cache leaves it out.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '.cache/node')

const containers = 'test/containers/**/*.test.ts'
/** They measure, or load the machine so that others would measure wrongly. */
const alone = ['load', 'phases', 'spy-bombs', 'storm'].map((name) => `test/containers/${name}.test.ts`)
/** They run many of the others once more, each on an engine of its own. */
const matrix = 'test/containers/engine-matrix*.test.ts'
/** As below, for what has containers. */
const slow = { testTimeout: 900_000, hookTimeout: 900_000 }

export default defineConfig({
  test: {
    pool: 'forks',
    // One more than the two cores it is made for: many files wait (a grace, a poll, an engine) for most of their time.
    maxWorkers: 3,
    // Only what hangs for good meets these limits, on the slowest machine too. What a test waits for gives up earlier, and says what it saw.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: {
      // A test that asks nothing proves nothing.
      requireAssertions: true,
      // The second that is usual is too short for a process on a machine that has other work.
      poll: { timeout: 60_000 },
    },
    setupFiles: ['test/support/own-environment.ts', 'test/support/answer-check.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'fast', include: ['test/**/*.test.ts'], exclude: [containers, 'test/bench/**'] },
      },
      {
        // One engine is one shared thing, but each home has its own label in it: several files at a time, after the fast ones.
        extends: true,
        test: {
          name: 'containers',
          include: [containers],
          exclude: [...alone, matrix],
          ...slow,
          // More than the fast ones: these wait for containers, graces and times to live.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: alone,
          fileParallelism: false,
          // The cells of phases side by side: a walk through one waits for most of its time.
          maxConcurrency: 8,
          ...slow,
          sequence: { groupOrder: 2 },
        },
      },
      {
        // The engines side by side. The long run has files among them that measure.
        extends: true,
        test: {
          name: 'matrix',
          include: [matrix],
          fileParallelism: process.env.HUB_TEST_LONG !== '1',
          ...slow,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
})
