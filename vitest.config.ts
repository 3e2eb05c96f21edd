import { defineConfig } from 'vitest/config'

const containers = 'test/containers/**/*.test.ts'

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    projects: [
      {
        extends: true,
        test: { name: 'fast', include: ['test/**/*.test.ts'], exclude: [containers, 'test/bench/**'] },
      },
      {
        // One engine is one shared thing: these files run one after the other, and after the fast ones.
        extends: true,
        test: {
          name: 'containers',
          include: [containers],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
