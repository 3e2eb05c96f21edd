/** Cards as the hub reads them: a fault with its place (fault C14), two of one name (fault C13), and what is not there (fault C4). */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CardPlaces } from '../../../hub/base/card-files.ts'
import { HubError } from '../../../hub/base/errors.ts'
import { nameProblem } from '../../../hub/protocol/agent.ts'
import { openStore, type Store } from '../../../hub/store/database.ts'
import { migrate, shippedMigrations } from '../../../hub/store/migrations.ts'
import type { PinnedImages } from '../../../hub/work/pinned-images.ts'
import { createRegistry, type ImageOrigin } from '../../../hub/work/registry.ts'

let folder: string
let store: Store
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rg-'))
  store = openStore(join(folder, 'hub.db'))
  migrate(store, shippedMigrations(), 0, () => undefined)
  mkdirSync(join(folder, 'agents'))
})
afterEach(() => {
  store.close()
  rmSync(folder, { recursive: true })
})
const put = (file: string, text: string) => writeFileSync(join(folder, 'agents', file), text)
const card = (name: string, more = '') => `name: ${name}\ndescription: d\nimage: hub/${name}\nrun: [x]\n${more}`
const me = process.getuid?.() ?? 0
const places = (): CardPlaces => ({
  package: join(folder, 'images'),
  home: join(folder, 'agents'),
  system: join(folder, 'system'),
  systemOwner: me,
})
/** Whose images the pins were told are all there are, read by read. */
let told: string[][] = []
const IMAGE = { id: 'sha256:x', problem: '', note: '' }
const registry = (
  of: () => Promise<object> = async () => IMAGE,
  mayHave = () => true,
  origins = () => () => ({ provenance: undefined, made: {} }) as ImageOrigin,
) =>
  createRegistry(
    {
      places: places(),
      limitsOf(given) {
        if (given.limits.memory !== undefined || !mayHave())
          throw new HubError('limit_exceeded', 'limits.memory is 1GiB; hub.yaml allows 512MiB', {
            facts: { key: 'limits.memory' },
          })
        return { ttlMs: 1, memoryBytes: 1, cpus: 1, pids: 1, tmpBytes: 1, workspaceBytes: 1, openFiles: 1 }
      },
    },
    {
      store,
      images: { of, onlyFor: (names: ReadonlySet<string>) => told.push([...names]) } as unknown as PinnedImages,
      barredBy: () => '',
      origins,
      breaker: { haltOf: () => undefined, reset: () => {} },
    },
  )
const problemsOf = async () => (await registry().read()).problems

describe('two reads at a time', () => {
  it('end in the order in which they began: an earlier answer about an image never replaces a later one (S0-13)', async () => {
    put('echo.yaml', card('echo'))
    const first = Promise.withResolvers<object>()
    const answers = [first.promise, Promise.resolve({ id: undefined, code: 'image_refused', problem: 'no', note: '' })]
    const known = registry(() => answers.shift() ?? Promise.reject(new Error('asked too often')))
    const reads = [known.read(), known.read()]
    first.resolve(IMAGE)
    await Promise.all(reads)
    expect(known.find('echo')).toMatchObject({ imageId: undefined, reason: 'no' })
  })

  it('go on after one that failed', async () => {
    put('echo.yaml', card('echo'))
    const fault = new Error('no store')
    const originOf = () => {
      if (faults.shift() !== undefined) throw fault
      return () => ({ provenance: undefined, made: {} })
    }
    const faults = [fault]
    const known = registry(undefined, undefined, originOf)
    const reads = [known.read(), known.read()]
    await expect(reads[0]).rejects.toThrow('no store')
    expect((await reads[1])?.agents).toBe(1)
  })

  it('after a change of what is asked about images, no agent starts until a read that began later has ended (S1-56)', async () => {
    put('echo.yaml', card('echo'))
    const early = Promise.withResolvers<object>()
    const late = Promise.withResolvers<object>()
    const begun = Promise.withResolvers<void>()
    const answers = [Promise.resolve(IMAGE), early.promise, late.promise]
    const known = registry(() => {
      if (answers.length === 2) begun.resolve()
      return answers.shift() ?? Promise.reject(new Error('asked too often'))
    })
    const doubt = () => known.find('echo')?.doubt
    await known.read()
    expect(doubt()).toBeUndefined()
    const before = known.read()
    await begun.promise
    known.imagesChanged()
    expect(doubt()).toMatch(/asked about again/)
    const after = known.read()
    early.resolve(IMAGE)
    await before
    expect(doubt()).toMatch(/asked about again/)
    late.resolve(IMAGE)
    await after
    expect(doubt()).toBeUndefined()
  })

  it('limits that change while an image is looked up count when the read ends', async () => {
    put('echo.yaml', card('echo'))
    const image = Promise.withResolvers<object>()
    let may = true
    const begun = Promise.withResolvers<void>()
    const known = registry(
      () => {
        begun.resolve()
        return image.promise
      },
      () => may,
    )
    const read = known.read()
    await begun.promise
    may = false
    known.limitsChanged()
    image.resolve(IMAGE)
    await read
    expect(known.find('echo')).toBeUndefined()
  })
})

describe('a card', () => {
  it('that is gone is told to who watches images, so that nothing stays open about it (S1-56)', async () => {
    told = []
    for (const name of ['echo', 'other']) put(`${name}.yaml`, card(name))
    const known = registry()
    await known.read()
    rmSync(join(folder, 'agents', 'echo.yaml'))
    await known.read()
    expect(told).toEqual([['echo', 'other'], ['other']])
  })

  it('copied under the name of another takes over nothing: neither is loaded, and each names the other (fault C13)', async () => {
    put('echo.yaml', card('echo'))
    put('other.yaml', card('other'))
    copyFileSync(join(folder, 'agents', 'echo.yaml'), join(folder, 'agents', 'a-copy.yaml'))
    const known = registry()
    const { problems } = await known.read()
    expect(known.find('echo')).toBeUndefined()
    expect(known.list().map((each) => each.card.name)).toEqual(['other'])
    expect(problems).toEqual([
      {
        file: 'a-copy.yaml',
        line: 1,
        column: 7,
        message: expect.stringMatching(/^name: echo\.yaml is named echo too; neither is loaded/),
      },
      {
        file: 'echo.yaml',
        line: 1,
        column: 7,
        message: expect.stringMatching(/^name: a-copy\.yaml is named echo too/),
      },
    ])
    writeFileSync(join(folder, 'agents', 'a-copy.yaml'), card('copy'))
    expect((await known.read()).problems).toEqual([])
    expect(known.find('echo')).toBeDefined()
  })

  it.each([
    ['limits:\n  memory: 1GiB\n', 6, 11, 'limits.memory is 1GiB; hub.yaml allows 512MiB'],
    ['limits:\n  ttl: 48h\n', 6, 8, 'limits.ttl: is 48h; its ceiling is 24h'],
    [
      'driver: command\nmode: chat\n',
      6,
      7,
      'mode: chat needs a driver that is given prompts while it runs, and command is not: use one of sdk, json-lines, acp, acp-v2, stub',
    ],
    ['idleAfter: 5m\n', 5, 12, 'idleAfter: counts only for `mode: chat`; leave it out'],
    ['mode: chat\nidleAfter: 2h\n', 6, 12, 'idleAfter: is 2h, and limits.ttl is 1h: the session ends before'],
    [
      'may:\n  egress:\n    - example.org\n',
      7,
      7,
      'may.egress[0]: must be the name of an upstream, NAME:metered, NAME:free, NAME:read, NAME:write, or host:port with the full name of the host, such as api.example.org:443',
    ],
    [
      'relax: [exec, network]\n',
      5,
      15,
      'relax[1]: "network" is no relaxation: there are exec (programs may run from /workspace) and shm (a private /dev/shm of 64 MiB)',
    ],
    ['relax: [shm, shm]\n', 5, 8, 'relax: a relaxation is there twice'],
    ['relax: exec\n', 5, 8, 'relax: must be a list, and is a text'],
    ['shellException: true\n', 5, 1, 'shellException: there is no such key'],
    ['restart: 1\n', 5, 1, 'restart: there is no such key; did you mean restarts?'],
    ['ttl: 5m\n', 5, 1, 'ttl: there is no such key here; did you mean limits.ttl?'],
    ['driver: command-line\n', 5, 9, 'driver: must be one of sdk, json-lines, command, stream-json, acp, acp-v2, stub'],
    [
      'messages: { sends: { told: schemas/gone.json } }\n',
      5,
      28,
      'messages.sends.told: it names schemas/gone.json, which is not a readable file beside the card',
    ],
    [
      'messages: { sends: { told: ../out.json } }\n',
      5,
      28,
      "messages.sends.told: the schema lies outside the agents' folder",
    ],
  ])('with %j is refused at line %d, column %d', async (more, line, column, message) => {
    put('a.yaml', card('a', more))
    expect(await problemsOf()).toEqual([{ file: 'a.yaml', line, column, message }])
  })

  it('names the line of a schema that is no JSON, in the schema', async () => {
    mkdirSync(join(folder, 'agents', 'schemas'))
    put('schemas/told.json', '{\n  "type": "object",\n}\n')
    put('a.yaml', card('a', 'messages: { sends: { told: schemas/told.json } }\n'))
    expect((await problemsOf())[0]?.message).toBe(
      'messages.sends.told: schemas/told.json is not JSON: line 3, column 1: a comma before }; take it out',
    )
  })
})

it.each(['constructor', 'toString', '__proto__', 'prototype', 'valueOf', 'hasOwnProperty', 'runtime-probe', 'A', ''])(
  'no agent bears the name %j (fault C36)',
  async (name) => {
    expect(nameProblem(name)).toBeDefined()
    put('a.yaml', card(JSON.stringify(name)))
    expect((await problemsOf())[0]).toMatchObject({ file: 'a.yaml', line: 1 })
  },
)
