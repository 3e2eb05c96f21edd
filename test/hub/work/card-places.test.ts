/** Cards from several places in order (S4-35): the first place that names an agent wins, and what that hides is said. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CardPlaces, placesOf } from '../../../hub/base/card-files.ts'
import { readPlaces } from '../../../hub/work/card-reading.ts'

let folder: string
let places: CardPlaces
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cp-'))
  places = {
    ...{ package: join(folder, 'images'), home: join(folder, 'agents'), system: join(folder, 'system') },
    systemOwner: process.getuid?.() ?? 0,
  }
})
afterEach(() => rmSync(folder, { recursive: true }))

const FILE = { package: 'images/NAME/agent.yaml', home: 'agents/NAME.yaml', system: 'system/NAME.yaml' } as const
function put(place: keyof typeof FILE, name: string, description: string, more = '', file = name) {
  const path = join(folder, FILE[place].replace('NAME', file))
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  writeFileSync(path, `name: ${name}\ndescription: ${description}\nimage: hub/${name}\nrun: [x]\n${more}`, {
    mode: 0o644,
  })
  return path
}
const read = (formerly?: (shown: string) => string[]) => {
  const { cards, broken, shadowed } = readPlaces(places, formerly)
  return {
    loaded: Object.fromEntries(
      [...cards].map(([name, found]) => [
        name,
        found.map(({ file, read }) => `${file.place} ${read.card.description}`),
      ]),
    ),
    broken: broken.map(({ file, thrown }) => [file.shown, (thrown as Error).message]),
    shadowed: shadowed.map(({ agent, file, by }) => `${agent}: ${file.place} behind ${by.place}`),
  }
}

describe('the order of the places (S4-35)', () => {
  it('is: the hub itself, the home, the machine; each hidden card is named', () => {
    for (const place of ['system', 'home', 'package'] as const) put(place, 'a', `of ${place}`)
    for (const place of ['system', 'home'] as const) put(place, 'b', `of ${place}`)
    put('system', 'c', 'of system')
    expect(read()).toEqual({
      loaded: { a: ['package of package'], b: ['home of home'], c: ['system of system'] },
      broken: [],
      shadowed: ['a: home behind package', 'a: system behind package', 'b: system behind home'],
    })
  })

  it('goes by the name in the card, whatever its file is called', () => {
    put('home', 'a', 'of home', '', 'other')
    put('system', 'a', 'of system')
    expect(read()).toMatchObject({ loaded: { a: ['home of home'] }, shadowed: ['a: system behind home'] })
  })

  it('says nothing of one that is the same, such as those that an earlier hub copied into the home', () => {
    put('package', 'a', 'same')
    put('home', 'a', 'same')
    expect(read()).toMatchObject({ loaded: { a: ['package same'] }, shadowed: [] })
  })

  it.each([
    ['its name can be read', 'name: a\nmode: wrong\n', 'other.yaml', undefined],
    ['its file has the name', '{', 'a.yaml', undefined],
    ['it was loaded from that file before', '{', 'other.yaml', () => ['a']],
  ])('a card with a fault still holds its name: no other place gets in where %s', (_, text, file, formerly) => {
    put('system', 'a', 'of system')
    mkdirSync(join(folder, 'agents'))
    writeFileSync(join(folder, 'agents', file), text)
    expect(read(formerly)).toMatchObject({
      loaded: {},
      broken: [[file, expect.any(String)]],
      shadowed: ['a: system behind home'],
    })
  })

  it('two of one place both count as found, so that the hub can refuse both (fault C13)', () => {
    put('home', 'a', 'one')
    put('home', 'a', 'two', '', 'copy')
    expect(read().loaded).toEqual({ a: ['home one', 'home two'] })
  })

  it("leaves out those of the hub that ask for egress: they wait for the operator's build", () => {
    put('package', 'a', 'of package', 'may: { egress: [model] }\n')
    put('home', 'a', 'of home', 'may: { egress: [model] }\n')
    expect(read()).toMatchObject({ loaded: { a: ['home of home'] }, shadowed: [] })
  })

  it('holds no probe: what lies on PATH or anywhere else is never loaded', () => {
    expect(Object.keys(placesOf('/h', '/c'))).toEqual(['package', 'home', 'system'])
  })
})

describe('the place of the machine is for what only root wrote', () => {
  const SCHEMA = 'messages: { sends: { told: schemas/told.json } }\n'
  beforeEach(() => {
    put('system', 'a', 'd', SCHEMA)
    mkdirSync(join(folder, 'system', 'schemas'), { mode: 0o755 })
    writeFileSync(join(folder, 'system', 'schemas', 'told.json'), '{}', { mode: 0o644 })
  })

  it('and loads it', () => expect(read()).toMatchObject({ loaded: { a: ['system d'] }, broken: [] }))

  it.each([
    ['its folder', 'system', 0o777],
    ['its folder, for the group', 'system', 0o775],
    ['a card', 'system/a.yaml', 0o666],
    ['a schema', 'system/schemas/told.json', 0o646],
    ['the folder of schemas', 'system/schemas', 0o757],
  ])('refuses by name where others may write %s', (_, path, mode) => {
    chmodSync(join(folder, path), mode)
    const { loaded, broken } = read()
    expect(loaded).toEqual({})
    expect(broken).toEqual([
      [
        join(folder, 'system/a.yaml'),
        expect.stringContaining(
          `${join(folder, path)} may be written by others (mode ${mode.toString(8)}): chmod go-w`,
        ),
      ],
    ])
  })

  it('refuses one above it that others may write', () => {
    chmodSync(folder, 0o777)
    expect(read().broken[0]?.[1]).toContain(`${folder} may be written by others`)
  })

  it('refuses a card of somebody else', () => {
    places = { ...places, systemOwner: (process.getuid?.() ?? 0) + 1 }
    expect(read().broken[0]?.[1]).toMatch(/belongs to user \d+, and only user \d+ may have written it: chown \d+ /)
  })

  it('refuses a link', () => {
    symlinkSync(put('home', 'b', 'of home'), join(folder, 'system', 'b.yaml'))
    rmSync(join(folder, 'agents'), { recursive: true })
    expect(read().broken).toEqual([[join(folder, 'system/b.yaml'), expect.stringContaining('is a link')]])
  })
})
