/** `hub agent validate` names every fault by file and line, with no hub running (S4-35, S4-42). */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { judgeConfig } from '../../hub/config.ts'
import { type FileVerdict, judgeCard, judgeFolder, judgePlaces, judgeRecipe } from '../../hub/judge-cards.ts'
import { commandHome } from '../support/command-home.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'jc-'))
})
afterEach(() => rmSync(root, { recursive: true }))

const put = (file: string, text: string) => {
  mkdirSync(dirname(join(root, file)), { recursive: true })
  writeFileSync(join(root, file), text)
  return join(root, file)
}
const CARD = `name: a
description: d
image: hub/a
run: [node, /app/agents/a/main.js]
`
const { config } = judgeConfig('')
/** `file:line:column key: message` of each fault. */
const said = (verdicts: readonly FileVerdict[]) =>
  verdicts.flatMap(({ file, faults }) =>
    faults.map(
      ({ line, column, key, message }) => `${file.slice(root.length + 1)}:${line}:${column} ${key}: ${message}`,
    ),
  )

describe('a card', () => {
  it('with several faults: all of them are named, not the first alone', () => {
    const path = put('a.yaml', `${CARD}restart: 1\nlimits: { ttl: 48h }\n`)
    expect(said([judgeCard(path, config)])).toEqual([
      'a.yaml:5:1 restart: there is no such key; did you mean restarts?',
      'a.yaml:6:16 limits.ttl: is 48h; its ceiling is 24h',
    ])
  })

  it('whose schemas are wrong: each is named', () => {
    const path = put('a.yaml', `${CARD}messages: { sends: { one: gone.json, two: bad.json } }\n`)
    put('bad.json', '{')
    expect(said([judgeCard(path, config)])).toEqual([
      'a.yaml:5:27 : messages.sends.one: it names gone.json, which is not a readable file beside the card',
      expect.stringContaining('a.yaml:5:43 : messages.sends.two: bad.json is not JSON: line 1'),
    ])
  })

  it('above the limits of hub.yaml', () => {
    const path = put('a.yaml', `${CARD}limits:\n  memory: 1GiB\n`)
    const { config: small } = judgeConfig('limits: { memory: 512MiB }')
    expect(said([judgeCard(path, small)])).toEqual([expect.stringMatching(/^a\.yaml:6:11 : limits\.memory is 1GiB/)])
    expect(said([judgeCard(path, undefined)])).toEqual([])
  })
})

it('a recipe of an image: its faults by line', () => {
  const path = put('image.yaml', 'base: nodejs\ntools: [git, git]\n')
  expect(said([judgeRecipe(path)])[0]).toMatch(/^image\.yaml:1:7 base: must be one of node, python, shell, coding/)
})

describe('a folder', () => {
  beforeEach(() => {
    put('images/echo/agent.yaml', '')
    put('a/main.ts', '')
  })
  const judged = () => said(judgeFolder(join(root, 'a'), join(root, 'images'), config))

  it('that is whole has no fault', () => {
    put('a/agent.yaml', CARD)
    expect(judged()).toEqual([])
  })

  it.each([
    ['hub/a', 'hub/b', 'a/agent.yaml:3:8 image: must be hub/a, because its build makes that name'],
    ['main.js', 'other.js', 'a/agent.yaml:4:13 run[1]: its folder holds no other.ts and no other.js'],
    [
      'agents/a',
      'agents/b',
      "a/agent.yaml:4:13 run[1]: is in a folder that is not this agent's; write /app/agents/a/main.js",
    ],
  ])('whose card says, for %s, %s', (right, wrong, fault) => {
    put('a/agent.yaml', CARD.replace(right, wrong))
    expect(judged()).toEqual([fault])
  })

  it("that takes the name of one of the hub's own", () => {
    put('a/agent.yaml', CARD.replaceAll(/\ba\b(?!:)/g, 'echo').replace('agents/echo', 'agents/echo'))
    expect(judged()[0]).toBe(
      "a/agent.yaml:1:7 name: echo is the name of one of the hub's own agents or images; choose another",
    )
  })

  it('whose image.yaml has a fault, and one whose card and image disagree about a shell', () => {
    put('a/agent.yaml', `${CARD}shell: true\n`)
    // Not a word that sends somebody the wrong way who builds with --from (S4-34).
    expect(judged()).toEqual([
      'a/agent.yaml:5:8 shell: must be false: without an image.yaml its image holds no shell. For `hub agent build --from IMAGE` write `from: IMAGE` into image.yaml',
    ])
    put('a/image.yaml', 'base: shell\n')
    expect(judged()).toEqual([expect.stringMatching(/^a\/image\.yaml:1:1 reason: is missing/)])
    put('a/image.yaml', 'base: shell\nreason: it counts words\n')
    expect(judged()).toEqual([])
    put('a/image.yaml', 'from: mine:1\n')
    expect(judged()).toEqual([])
  })
})

it('every card of a home: those of one name in one place, and those that count for nothing (fault C13)', () => {
  put('agents/a.yaml', CARD)
  put('agents/copy.yaml', `${CARD}mode: task\n`)
  put('images/b/agent.yaml', CARD.replace('name: a', 'name: b'))
  put('agents/b.yaml', CARD.replace('name: a', 'name: b').replace('d\n', 'another\n'))
  const places = { package: join(root, 'images'), home: join(root, 'agents') }
  const { files, shadowed } = judgePlaces(places, config)
  expect(said(files)).toEqual([
    'agents/a.yaml:1:7 name: copy.yaml is named a too; neither is loaded until one of them has another name',
    'agents/copy.yaml:1:7 name: a.yaml is named a too; neither is loaded until one of them has another name',
  ])
  expect(shadowed).toEqual([{ agent: 'b', card: join(root, 'agents/b.yaml'), by: join(root, 'images/b/agent.yaml') }])
  expect(judgePlaces(places, config, 'b').files.map(({ file }) => file)).toEqual([
    join(root, 'images/b/agent.yaml'),
    join(root, 'agents/b.yaml'),
  ])
})

describe('hub agent validate', () => {
  const at = commandHome()

  it('ends with 0 where all is well, with 3 where there is a fault, and with 2 for what is not there (S4-42)', async () => {
    put('a/agent.yaml', CARD)
    put('a/main.js', '')
    const file = put('b.yaml', `${CARD}wrong: 1\n`)
    const [well, faulty, gone] = await Promise.all([
      at.run(['agent', 'validate', join(root, 'a'), 'echo']),
      at.run(['agent', 'validate', file, '--json']),
      at.run(['agent', 'validate', 'nobody']),
    ])
    expect([well.code, well.stdout]).toEqual([
      0,
      expect.stringMatching(new RegExp(`^${root}/a/agent.yaml is valid\n/.*/images/echo/agent.yaml is valid\n$`)),
    ])
    expect([faulty.code, JSON.parse(faulty.stdout)]).toEqual([
      3,
      {
        ok: false,
        files: [{ file, ok: false, faults: [expect.objectContaining({ line: 5, key: 'wrong' })] }],
        shadowed: [],
      },
    ])
    expect([gone.code, gone.stderr]).toEqual([2, expect.stringContaining('nobody is neither a file nor a folder here')])
  })
})
