/** The engine shows one field of a container otherwise than it was sent: never started, always removed (T49), on the real engine. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { toHubError } from '../../hub/base/errors.ts'
import { type EngineFault, type EngineProxy, openEngineProxy } from '../support/engine-proxy.ts'
import { loadProbe, openBench } from '../support/probe-session.ts'

type Row = Record<string, unknown>
type Change = (answer: Row) => void
const SIDE_BY_SIDE = 6

let proxy: EngineProxy
let bench: ReturnType<typeof openBench>
let shown: Row
beforeAll(async () => {
  proxy = await openEngineProxy()
  bench = openBench(await loadProbe(), proxy.socket)
  const { containerId } = await bench.place()
  shown = (await bench.engine.inspect(containerId)) as Row
})
afterAll(async () => {
  await bench?.[Symbol.asyncDispose]()
  await proxy?.close()
})

/** Another value of the same kind. */
function other(value: unknown): unknown {
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') return value + 1
  if (typeof value === 'string') return `${value}x`
  if (Array.isArray(value)) return [...value, 'x']
  return { ...(value as Row | null), x: 'x' }
}
const isFilled = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length > 0

const within = (section: string | undefined, change: Change): Change =>
  section === undefined ? change : (answer) => change((answer[section] ?? {}) as Row)

/** Every field of a section in another value, each filled list or object emptied as well, and one field that nobody knows. */
function changesOf(section: string | undefined, row: Row, except: readonly string[] = []): [string, Change][] {
  const path = (name: string) => (section === undefined ? name : `${section}.${name}`)
  const changes = Object.entries(row)
    .filter(([name]) => !except.includes(name))
    .flatMap(([name, value]): [string, Change][] => {
      const changed: [string, Change] = [path(name), (into) => Object.assign(into, { [name]: other(value) })]
      const emptied: [string, Change] = [
        `${path(name)}, emptied`,
        (into) => Object.assign(into, { [name]: Array.isArray(value) ? [] : null }),
      ]
      return isFilled(value) && !MAY_BE_EMPTY.includes(name) ? [changed, emptied] : [changed]
    })
  changes.push([path('Backdoor'), (into) => Object.assign(into, { Backdoor: true })])
  return changes.map(([name, change]) => [name, within(section, change)])
}

/** The size of a terminal, which no session has: later engines leave it out. The others name the image alone: earlier ones do not show them. */
const MAY_BE_EMPTY = ['ConsoleSize', 'Storage', 'ImageManifestDescriptor']

/** Where and when it is, and nothing of what it may do; the sections are gone through field by field. */
const INFORMATIVE = [
  ...['Created', 'State', 'ResolvConfPath', 'HostnamePath', 'HostsPath', 'LogPath', 'Driver', 'Platform'],
  ...['MountLabel', 'ProcessLabel', 'GraphDriver', 'NetworkSettings', 'Config', 'HostConfig'],
]

test('T49: whichever field is altered, added or emptied, and with any warning: not one of them is started, and each is removed', {
  timeout: 900_000,
}, async () => {
  const alter = (verb: 'inspect' | 'create', change: Change) => ({
    verb,
    fault: { kind: 'alter', change } as EngineFault,
  })
  const cases = [
    ...changesOf(undefined, shown, INFORMATIVE),
    ...changesOf('HostConfig', shown.HostConfig as Row),
    ...changesOf('Config', shown.Config as Row),
    ...Object.keys((shown.Mounts as Row[])[0] ?? {}).map((name): [string, Change] => [
      `Mounts[0].${name}`,
      ({ Mounts: mounts }) => Object.assign((mounts as Row[] | undefined)?.[0] ?? {}, { [name]: 'x' }),
    ]),
    [
      'NetworkSettings.Networks',
      within('NetworkSettings', (into) => Object.assign(into, { Networks: { bridge: {} } })),
    ],
  ].map(([name, change]) => ({ name: name as string, ...alter('inspect', change as Change) }))
  cases.push({ name: 'a warning', ...alter('create', (answer) => Object.assign(answer, { Warnings: ['discarded'] })) })
  expect(cases.length).toBeGreaterThan(110)

  const mine = new Map<string, (typeof cases)[number]>()
  const waiting = [...cases]
  proxy.judge = ({ verb, container = '' }) => {
    if (verb === 'create') mine.set(container, waiting.shift() as (typeof cases)[number])
    const spoiled = mine.get(container)
    return spoiled?.verb === verb ? spoiled.fault : undefined
  }
  const told: string[] = []
  let placed = 0
  const worker = async () => {
    while (placed < cases.length) {
      placed += 1
      const outcome = await bench.place().then(
        () => 'started',
        (thrown: unknown) => toHubError(thrown),
      )
      told.push(typeof outcome === 'string' ? outcome : `${outcome.code} ${String(outcome.facts.leftBehind)}`)
    }
  }
  const before = proxy.calls.length
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker))
  proxy.heal()

  // One name each: what was not refused stands here by its name.
  const alive = new Set((await bench.engine.list(bench.instance)).map(({ name }) => name))
  expect([...mine].filter(([container]) => alive.has(container)).map(([, { name }]) => name)).toEqual([])
  expect(told.filter((each) => each !== 'profile_mismatch false')).toEqual([])
  expect(told).toHaveLength(cases.length)
  expect(proxy.calls.slice(before).filter(({ verb }) => verb === 'start')).toEqual([])
})
