/**
 * Hub, watchdog, agents, engine and the lines between them, each killed, stopped, starved or cut in every phase of a hub's life: real
 * processes, real containers. After each I1 to I6 are judged: by the engine (I4, I6), by the modes (I5), by the database (I1 to I4).
 * In the short run a choice of the cells, under HUB_TEST_LONG=1 all of them. HUB_PHASES chooses by an expression.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ACTS } from '../support/phase-acts.ts'
import { openPhaseHome, type PhaseHome } from '../support/phase-home.ts'
import { walk } from '../support/phase-judge.ts'
import { CELLS, ELSEWHERE, PHASES } from '../support/phase-walk.ts'
import { loadTrialImage } from '../support/trial-home.ts'

const LONG = process.env.HUB_TEST_LONG === '1'
const chosen = process.env.HUB_PHASES
const nameOf = ({ act, phase }: (typeof CELLS)[number]) => `${act.victim} ${act.act} ${phase.name}`
const cells = CELLS.filter((cell) =>
  chosen === undefined ? LONG || cell.always : new RegExp(chosen).test(nameOf(cell)),
).filter(({ not }) => not === undefined)

/** Homes that nobody walks through now; each serves one cell after the other. */
const idle: PhaseHome[] = []
beforeAll(() => loadTrialImage())
afterAll(async () => {
  for (const home of idle) await home[Symbol.asyncDispose]()
})

test('the table has every act in every phase, or says why it cannot be; the short form meets each phase, and each act that no other file does', () => {
  expect(CELLS).toHaveLength(ACTS.length * PHASES.length)
  const short = CELLS.filter(({ always }) => always)
  expect(short.filter(({ not }) => not !== undefined)).toEqual([])
  const done = [...short.map(({ act }) => `${act.victim} ${act.act}`), ...Object.keys(ELSEWHERE)]
  expect(done.toSorted()).toEqual(ACTS.map(({ victim, act }) => `${victim} ${act}`).toSorted())
  for (const file of Object.values(ELSEWHERE)) expect(existsSync(join(import.meta.dirname, file)), file).toBe(true)
  expect(new Set(short.map(({ phase }) => phase)).size).toBe(PHASES.length)
  console.log(
    CELLS.filter(({ not }) => not)
      .map((cell) => `${nameOf(cell)}: cannot be: ${cell.not}`)
      .join('\n'),
  )
})

// Side by side: what they mostly do is wait.
describe.concurrent('I1 to I6 hold', () => {
  test.each(cells)(
    '$act.victim: $act.act ($act.how) while $phase.name ($phase.how)',
    { timeout: 900_000 },
    async (cell) => {
      const home = idle.pop() ?? (await openPhaseHome())
      const startedAt = performance.now()
      try {
        const broken = await walk(home, cell)
        console.log(`${nameOf(cell)}: ${Math.round(performance.now() - startedAt)} ms ${broken.join('\n')}`)
        expect(broken).toEqual([])
      } catch (thrown) {
        await Promise.resolve(home[Symbol.asyncDispose]()).catch(() => undefined)
        throw thrown
      }
      idle.push(home)
    },
  )
})
