import { defineConfig } from 'vitest/config'

const containers = 'test/containers/**/*.test.ts'
/** They measure, or load the machine so that others would measure wrongly. */
const alone = ['load', 'phases', 'spy-bombs', 'storm'].map((name) => `test/containers/${name}.test.ts`)
/** It runs many of the others once more, on engines of its own. */
const matrix = 'test/containers/engine-matrix.test.ts'
const slow = { testTimeout: 120_000, hookTimeout: 120_000 }

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    setupFiles: ['test/support/own-environment.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'fast', include: ['test/**/*.test.ts'], exclude: [containers, 'test/bench/**'] },
      },
      {
        // One engine is one shared thing, but each home has its own label in it: two files at a time, after the fast ones.
        extends: true,
        test: {
          name: 'containers',
          include: [containers],
          exclude: [...alone, matrix],
          ...slow,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: alone, fileParallelism: false, ...slow, sequence: { groupOrder: 2 } },
      },
      { extends: true, test: { name: 'matrix', include: [matrix], ...slow, sequence: { groupOrder: 3 } } },
    ],
  },
})
