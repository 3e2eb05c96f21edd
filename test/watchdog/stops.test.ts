import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { readStopOrder } from '../../watchdog/act/stop-order.ts'
import { firstState } from '../../watchdog/judge/state.ts'
import { planStop } from '../../watchdog/judge/stops.ts'
import { createSteerableClock, INSTANCE } from '../support/watchdog-home.ts'

test('an emergency stands as it began: a second stop changes its id, not who and why; ids rise though the wall clock goes back', () => {
  const clock = createSteerableClock()
  const first = firstState(clock.read(), INSTANCE)
  const one = planStop(first, 'contact', 'r'.repeat(1000))
  expect(one.emergency).toEqual({ by: 'contact', reason: 'r'.repeat(200), sinceMs: 0 })
  clock.stepWall(-1e9)
  const two = planStop({ ...one, mark: clock.read() }, 'emergency', 'other')
  expect(two.emergency).toEqual(one.emergency)
  expect(two.stopId).toBe(one.stopId + 1)
  expect(planStop(first, 'unattended', '').emergency).toBeNull()
  expect(planStop(first, 'operator', '').emergency).toBeNull()
})

test('a stop order counts whenever there is something in it, understood or not', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'so-'))
  const file = path.join(folder, 'stop-order')
  expect(readStopOrder(file)).toBeNull()
  for (const [text, order] of [
    ['', null],
    ['\0'.repeat(512), null],
    [`{"by":"contact","reason":"fire"}${'\0'.repeat(480)}`, { by: 'contact', reason: 'fire' }],
    ['{"by":"anybody"}', { by: 'emergency', reason: '' }],
    ['{"by":', { by: 'emergency', reason: 'the stop order is damaged' }],
  ] as const) {
    writeFileSync(file, text)
    expect(readStopOrder(file)).toEqual(order)
  }
  rmSync(file)
  writeFileSync(path.join(folder, 'not-a-folder'), '')
  expect(readStopOrder(path.join(folder, 'not-a-folder', 'x'))).toMatchObject({ by: 'emergency' })
  rmSync(folder, { recursive: true })
})
