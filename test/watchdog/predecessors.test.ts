/** X4: what a predecessor left, a month old, gets nobody shot: signs of life are compared with the start of this process. */
import { writeFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { pathsOf } from '../../watchdog/base/home.ts'
import { parseConfig } from '../../watchdog/config/config.ts'
import { firstMemory, judge, planAdvance } from '../../watchdog/judge/judge.ts'
import { firstState } from '../../watchdog/judge/state.ts'
import { readLedger } from '../../watchdog/observe/observe.ts'
import {
  createSteerableClock,
  INSTANCE,
  KEY,
  ledgerText,
  makeContainer,
  makeHome,
  sessionOf,
} from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})

test('X4: with a state and a ledger of a month ago neither a fresh container is killed nor a starting hub missed within the grace', () => {
  const home = makeHome()
  homes.push(home)
  const paths = pathsOf(home.home)
  const config = parseConfig({})
  const clock = createSteerableClock()
  const old = firstState(clock.read(), INSTANCE)
  writeFileSync(paths.ledger, ledgerText([sessionOf(makeContainer(clock.read()))]))
  clock.reboot(30 * 86_400_000)
  const fresh = makeContainer(clock.read())
  const hubAway = { kind: 'silent', reason: 'it is starting' } as const
  let state = planAdvance(old, clock.read(), config)
  let memory = firstMemory(state.lineMs)
  const ids: string[] = []
  // The hub has not answered yet, and its ledger is not written anew.
  for (let round = 0; round < 2; round += 1) {
    clock.move(29_000)
    state = planAdvance(state, clock.read(), config)
    const facts = {
      now: clock.read(),
      containers: { kind: 'listed' as const, list: [fresh] },
      disagreement: null,
      heard: hubAway,
      ledger: readLedger(paths.ledger, KEY, INSTANCE),
      checkpointKey: null,
      own: [],
    }
    const judged = judge(state, memory, facts, config)
    expect(judged.recycle).toEqual([])
    ids.push(...judged.findings.map(({ id }) => id))
    state = judged.state
    memory = judged.memory
  }
  // What the operator owes is owed since then; of processes and containers nothing is said.
  expect(ids.filter((id) => !id.startsWith('heartbeat'))).toEqual([])
})
