/** What keeps an agent from starting, all of it at once and each with its mending (S4-35). */
import { expect, it } from 'vitest'
import { lacksOf } from '../../../hub/edge/agent-lacks.ts'
import { agentCardShape } from '../../../hub/protocol/agent.ts'

type Given = Parameters<typeof lacksOf>[0]
type Row = NonNullable<Parameters<typeof lacksOf>[1]['row']>

const card = (more: object = {}) =>
  agentCardShape.parse({ name: 'a', description: 'd', image: 'hub/a', run: ['x'], ...more })
const agent = (more: Partial<Given> = {}): Given => ({
  ...{ card: card(), imageId: 'sha256:1', state: 'registered', reason: '', barred: '' },
  origin: { place: 'home', path: '/h/a.yaml', shadows: [] },
  ...more,
})
const row = (more: object = {}) =>
  ({ submit: true, service: false, suspended: false, relax: [], ...more }) as unknown as Row
const lacks = (given: Given, its: Row | undefined = row()) =>
  lacksOf(given, { row: its, secretFault: (name) => ({ why: `no file ${name}`, mend: `make ${name}` }) as never })

it('nothing keeps one that has all', () => expect(lacks(agent())).toEqual([]))

it.each([
  [agent({ state: 'halted', reason: 'lost too many' }), row(), 'it is halted: lost too many', 'hub agent reset a'],
  [
    agent({ imageId: undefined, reason: 'image hub/a is missing' }),
    row(),
    'image hub/a is missing',
    'hub agent build FOLDER',
  ],
  [
    agent({ imageId: undefined, reason: 'gone', origin: { place: 'package', path: '', shadows: [] } }),
    row(),
    'gone',
    'node scripts/build-images.ts; hub agent reload',
  ],
  [agent({ barred: 'a flag is off' }), row(), 'a flag is off', 'hub flag list'],
  [agent({ doubt: 'asked again' }), row(), 'asked again', 'hub agent reload'],
  [
    agent(),
    row({ suspended: true }),
    'its row says suspended: true',
    'correct policy/data.json, then hub policy reload',
  ],
  [
    agent({ card: card({ mode: 'service' }) }),
    row(),
    'it is a service, and its row does not say service: true',
    'hub agent allow a',
  ],
  [
    agent({ card: card({ relax: ['exec', 'shm'] }) }),
    row({ relax: ['shm'] }),
    'its card asks for relax: exec, and its row does not grant it',
    'hub agent allow a',
  ],
  [agent({ card: card({ may: { secrets: ['key'] } }) }), row(), 'secret key: no file key', 'make key'],
])('of %j with the row %j: %s', (given, its, what, mend) => expect(lacks(given, its)).toEqual([{ what, mend }]))

it('several are all named, and no row is one of them', () =>
  expect(
    lacksOf(agent({ state: 'unhealthy', reason: 'r', imageId: undefined }), {
      row: undefined,
      secretFault: () => undefined,
    }),
  ).toEqual([
    { what: 'it is unhealthy: r', mend: 'hub agent reset a' },
    { what: 'its image hub/a cannot be used', mend: 'hub agent build FOLDER' },
    { what: 'it has no row in policy/data.json, so nobody may give it a task', mend: 'hub agent allow a' },
  ]))
