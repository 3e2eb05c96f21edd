/** The sum of what a task sent is kept although a record of it was taken back [E15]. */
import { expect, it } from 'vitest'
import { createOutflow } from '../../../../hub/work/egress/outflow.ts'

it('a sum whose transaction was taken back is kept with the next record, although nothing more was sent [E15]', () => {
  const kept = new Map<string, number>()
  let commits = false
  const outflow = createOutflow({
    sums: {
      read: (root) => kept.get(root) ?? 0,
      write: (root, bytes) => void (commits && kept.set(root, bytes)),
      afterCommit: (work) => void (commits && work()),
    },
    rootOf: (session) => `root of ${session}`,
    limit: () => 100,
  })
  expect(outflow.take('s', 60)).toBeUndefined()
  outflow.keep('s')
  expect(kept.size).toBe(0)
  commits = true
  outflow.keep('s')
  expect([...kept]).toEqual([['root of s', 60]])
})
