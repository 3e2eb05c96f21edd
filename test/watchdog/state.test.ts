import { closeSync, linkSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { initState, openState } from '../../watchdog/act/state-file.ts'
import { SLOT_BYTES } from '../../watchdog/base/slot.ts'
import { firstState, type State } from '../../watchdog/judge/state.ts'
import { planAlerts } from '../../watchdog/tell/plan.ts'
import { isCutOff } from '../../watchdog/tell/recovery.ts'
import { createSteerableClock, INSTANCE, makeHome } from '../support/watchdog-home.ts'

const homes: { remove(): void }[] = []
afterEach(() => {
  for (const home of homes.splice(0)) home.remove()
})
function fresh(): { file: string; first: State } {
  const home = makeHome()
  homes.push(home)
  const file = path.join(home.home, 'watchdog/state')
  const first = firstState(createSteerableClock().read(), INSTANCE)
  initState(file, first)
  return { file, first }
}
const read = (file: string): State | null => {
  const opened = openState(file, 1)
  opened.close()
  return opened.found
}
/** In place: a file that is cut to nothing and written anew has the disk wait, and these do it eight thousand times. */
function overwrite(file: string, bytes: Buffer): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, bytes, 0, bytes.length, 0)
  closeSync(fd)
}

test('T89: a write torn at any byte of either slot leaves the older or the newer state, never a third [watch-11]', () => {
  const { file, first } = fresh()
  const states = [1, 2].map((lineMs) => ({ ...first, lineMs }))
  const opened = openState(file, 1)
  for (const state of states) opened.save(state)
  opened.close()
  // One save more turns to the other slot.
  for (const extra of [0, 1]) {
    const again = openState(file, 1)
    if (extra === 1) again.save({ ...first, lineMs: 3 })
    const before = readFileSync(file)
    const old = read(file)
    again.save({ ...first, lineMs: 900 + extra })
    again.close()
    const after = readFileSync(file)
    const slot = before.subarray(0, SLOT_BYTES).equals(after.subarray(0, SLOT_BYTES)) ? 1 : 0
    const seen = new Set<number>()
    for (let at = 0; at <= SLOT_BYTES; at += 1) {
      const torn = Buffer.from(before)
      after.copy(torn, slot * SLOT_BYTES, slot * SLOT_BYTES, slot * SLOT_BYTES + at)
      overwrite(file, torn)
      seen.add(read(file)?.lineMs ?? -1)
    }
    expect(seen).toEqual(new Set([old?.lineMs, 900 + extra]))
    writeFileSync(file, after)
  }
})

test('T89: one flipped bit anywhere in the ruling slot falls back to the other', () => {
  const { file, first } = fresh()
  const opened = openState(file, 1)
  opened.save({ ...first, lineMs: 77 })
  opened.close()
  const whole = readFileSync(file)
  const used = 48 + Buffer.byteLength(JSON.stringify({ ...first, lineMs: 77 }))
  for (let at = 0; at < used; at += 1) {
    const bent = Buffer.from(whole)
    bent[at] = (bent[at] ?? 0) ^ 1
    overwrite(file, bent)
    expect(read(file)?.lineMs, `byte ${at}`).toBe(0)
  }
})

test('the file never grows: every slot is there from the first start', () => {
  const { file, first } = fresh()
  expect(statSync(file)).toMatchObject({ size: 2 * SLOT_BYTES, mode: 0o100600 })
  const opened = openState(file, 1)
  for (let lineMs = 0; lineMs < 50; lineMs += 1) opened.save({ ...first, lineMs })
  opened.close()
  expect(statSync(file).size).toBe(2 * SLOT_BYTES)
  expect(read(file)?.lineMs).toBe(49)
})

test('both slots broken: nothing is believed and a copy is put aside', () => {
  const { file } = fresh()
  const broken = Buffer.alloc(2 * SLOT_BYTES, 9)
  writeFileSync(file, broken)
  const opened = openState(file, 1234)
  opened.close()
  expect(opened.found).toBeNull()
  expect(readFileSync(`${file}.corrupt-1234`)).toEqual(broken)
})

test('a missing state refuses the start, and a second --init refuses as well', () => {
  const { file, first } = fresh()
  expect(() => openState(`${file}-gone`, 1)).toThrow(/is missing.*hub init/)
  expect(() => initState(file, first)).toThrow(/initialised/)
})

test('the fullest state fits its slot', () => {
  const { file, first } = fresh()
  const ids = Array.from({ length: 24 }, (_, at) => `finding_with_a_long_name_${at}`)
  const opened = openState(file, 1)
  const far = Number.MAX_SAFE_INTEGER
  opened.save({
    ...first,
    presence: {
      nowMs: far,
      strongAtMs: far,
      weakAtMs: far,
      dueAtMs: far,
      safeSinceMs: far,
      ceilingFromMs: far,
      stoppedSinceMs: far,
      upSaid: false,
      stopReport: { gone: far, failed: far },
      wakeUntilMs: far,
      away: { sinceMs: far, untilMs: far, keepWorking: false, note: 'x'.repeat(198) },
      reminded: { due: 2, safe: 2 },
      paused: false,
    },
    run: 'r'.repeat(22),
    witness: { size: far, head: 'f'.repeat(64), digest: 'f'.repeat(64) },
    heads: Array.from({ length: 8 }, () => [far, 'f'.repeat(64)] as const),
    buffered: { seq: far, head: 'f'.repeat(64), count: 10_256 },
    auditLost: far,
    alerts: Object.fromEntries(ids.map((id) => [id, { level: 4, sinceMs: Number.MAX_SAFE_INTEGER }])),
  })
  opened.close()
  const again = openState(file, 1)
  again.close()
  expect(again.found).toMatchObject({ auditLost: far, presence: { away: { note: 'x'.repeat(198) } } })
})

test('a state of an earlier version, without the fields that came later, is read with their defaults', () => {
  const { file, first } = fresh()
  const { nowMs, strongAtMs, safeSinceMs, ceilingFromMs } = {
    nowMs: 9,
    strongAtMs: 1,
    safeSinceMs: 5,
    ceilingFromMs: 5,
  }
  const presence = {
    nowMs,
    strongAtMs,
    weakAtMs: null,
    safeSinceMs,
    ceilingFromMs,
    stoppedSinceMs: null,
    wakeUntilMs: null,
    paused: false,
  }
  const { contactTold: _, ...rest } = first
  const opened = openState(file, 1)
  opened.save({ ...rest, presence } as unknown as State)
  opened.close()
  expect(read(file)).toEqual({
    ...first,
    presence: { ...first.presence, nowMs, strongAtMs, safeSinceMs, ceilingFromMs },
  })
})

test('fault G2: what a killed writer left beside the file is never written into, though it may be the file itself', () => {
  const { file } = fresh()
  const before = readFileSync(file)
  linkSync(file, `${file}.new`)
  expect(() => initState(file, firstState(createSteerableClock().read(), 'another'))).toThrow(/exists already/)
  expect(readFileSync(file)).toEqual(before)
})

test('fault G8: a state that is lost is told with one advice, and it is the one that works', () => {
  const home = makeHome()
  homes.push(home)
  const file = path.join(home.home, 'watchdog/state')
  const advice = () => {
    try {
      openState(file, 1)
      return 'opened'
    } catch (error) {
      return (error as Error).message
    }
  }
  expect(advice()).toMatch(/; run: hub init --home \S+$/)
  writeFileSync(path.join(home.home, 'ledger.json'), '')
  const said = advice()
  expect(said).toMatch(/no backup has it\. To begin again without it run: node \S+main\.ts --home \S+ --init$/)
  expect(said).not.toContain('hub init')
})

test('fault G11: the id of an alert does not look like an instant, and one of before is still understood', () => {
  const told = Math.floor(Date.parse('2026-11-24T12:00:00Z') / 1000)
  const finding = { id: 'hub_dead', level: 1, severity: 'warning' as const, text: 'gone' }
  const id = planAlerts({ alerts: {}, told, lineMs: 0 }, [finding as never]).events[0]?.id ?? ''
  expect(id).toMatch(/^w[0-9a-z]{5,7}-hub_dead-raised-1$/)
  for (const one of [id, `${told}-hub_dead-raised-1`]) {
    expect(isCutOff(one, { told })).toBe(true)
    expect(isCutOff(one, { told: told + 1 })).toBe(false)
  }
})
