/** Conversations over the starts of one task: what is kept of a CLI, and what of it is put back (docs/agents.md, T104). */
import { randomUUID } from 'node:crypto'
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { HubAgent } from '../../hub/client/agent.ts'
import { isTranscriptPath, lastOf, TRANSCRIPT_BYTES_MAX } from '../../hub/protocol/transcripts.ts'
import { packTranscript, readTranscript, type TranscriptFile } from '../../images/agent/transcript-pack.ts'
import { openTranscripts } from '../../images/agent/transcripts.ts'
import { createShimBench } from '../support/shim-process.ts'

const TASK = randomUUID()
const rollout = (name: string) => `.codex/sessions/2026/12/01/rollout-${name}.jsonl`
const ROLLOUT = rollout('1')
const TALK = 'abb8f934-6e35-4636-9c64-784c727ef7e4'
const file = (path: string, text = 'x', mtimeMs = 1_000_000): TranscriptFile => ({
  path,
  mtimeMs,
  bytes: Buffer.from(text),
})
const packed = (...files: TranscriptFile[]) => packTranscript({ task: TASK, text: 'said', files })
/** Bytes of any head, with what follows it. */
const made = (head: unknown, rest = '') => Buffer.from(`${JSON.stringify(head)}\n${rest}`)
const headOf = (files: unknown, more: object = {}) => ({ version: 1, task: TASK, text: '', files, ...more })
const one = (path: unknown, size: unknown = 0) => made(headOf([{ path, mtimeMs: 1, size }]))

describe('as bytes', () => {
  test('what was packed is read back, file by file, whatever is in it', () => {
    const part = fc.stringMatching(/^[A-Za-z0-9]{1,12}$/)
    const paths = fc.uniqueArray(
      fc.tuple(
        fc.constantFrom(
          '.codex/sessions/2026/12/01/rollout-*.jsonl',
          `.claude/projects/*/${TALK}.jsonl`,
          `.claude/projects/-workspace/${TALK}/tool-results/*.txt`,
          '.gemini/tmp/h/chats/session-*.jsonl',
        ),
        part,
      ),
    )
    const files = paths.chain((all) =>
      fc.tuple(
        ...all.map(([kind, name]) =>
          fc.uint8Array().map((bytes) => ({ path: kind.replace('*', name), mtimeMs: 7, bytes: Buffer.from(bytes) })),
        ),
      ),
    )
    fc.assert(
      fc.property(files, fc.string({ unit: 'grapheme' }), (given, text) => {
        const unique = given.filter(({ path }, at) => given.findIndex((each) => each.path === path) === at)
        const back = readTranscript(packTranscript({ task: TASK, text, files: unique }), TASK)
        expect(back).toEqual({ task: TASK, text: lastOf(text), files: unique })
      }),
    )
  })

  const cut = packed(file(ROLLOUT, 'a long line'))
  test.each([
    ['nothing', Buffer.alloc(0), 'it has no list of its files'],
    ['no line', Buffer.from('x'.repeat(100)), 'it has no list of its files'],
    ['a head that is no JSON', Buffer.from('{"version":1\nrest'), 'the list of its files cannot be read'],
    ['a head of another form', made([1]), 'the list of its files has another form'],
    ['another version', made({ ...headOf([]), version: 2 }), 'the list of its files has another form'],
    ['another task', made(headOf([], { task: randomUUID() })), 'it is of another task'],
    ['cut in a file', cut.subarray(0, -1), 'it is cut'],
    ['cut in its head', cut.subarray(0, 20), 'it has no list of its files'],
    ['bytes after its files', Buffer.concat([cut, Buffer.from('x')]), 'it is longer than its files'],
    ['a size that is none', one(ROLLOUT, -1), 'it has no size and time of'],
    ['a size beyond its end', one(ROLLOUT, 2 ** 52), 'it is cut'],
    ['a file twice', packed(file(ROLLOUT), file(ROLLOUT)), 'twice'],
    ['a file below a file', packed(file(ROLLOUT), file(`${ROLLOUT}/more`)), 'it holds a file that is no part of'],
    ['a text that is too long', made(headOf([], { text: 'x'.repeat(1501) })), 'the end of its text has another form'],
    ['too many files', made(headOf(Array(4097).fill({}))), 'it holds more than 4096 files'],
    ['an entry that is none', made(headOf([null])), 'it holds a file that is no part of a conversation'],
  ])('T104: %s is refused by name, whole', (_, bytes, why) => {
    expect(() => readTranscript(bytes, TASK)).toThrow(why)
  })

  test.each([
    '.codex/config.toml',
    '.codex/auth.json',
    '.codex/sessions',
    '.codex/sessionsx/a',
    '.codex/../.bashrc',
    '.codex/sessions/../../.bashrc',
    '.codex/sessions/./a',
    '.codex/sessions//a',
    '/.codex/sessions/a',
    './.codex/sessions/a',
    '.codex/sessions/a/',
    '.codex/sessions/a\n',
    '.codex/sessions/a\0b',
    '.codex/sessions/a b',
    '.codex/sessions/2026/12/01/AGENTS.md',
    '.codex/sessions/2026/12/01/rollout-1.jsonl.zst',
    '.codex/sessions/2026/12/01/config.toml',
    '.codex/sessions/2026/rollout-1.jsonl',
    '.codex/sessions/2026/12/01/rollout-1xjsonl',
    '.codex/sessions/2026/12/01/rollout-1.jsonl/hooks.json',
    'xcodex/sessions/2026/12/01/rollout-1.jsonl',
    '.claude/projects/-workspace/memory/MEMORY.md',
    '.claude/projects/-workspace/CLAUDE.md',
    '.claude/projects/-workspace/settings.json',
    '.claude/projects/-workspace/sessions-index.json',
    '.claude/projects/-workspace/notes.jsonl',
    `.claude/projects/${TALK}.jsonl`,
    `.claude/projects/../${TALK}.jsonl`,
    `.claude/projects/-workspace/${TALK}.json`,
    `.claude/projects/-workspace/${TALK}/.mcp.json`,
    `.claude/projects/-workspace/${TALK}/subagents/agent-1.meta.json`,
    `.claude/projects/-workspace/${TALK}/subagents/CLAUDE.md`,
    `.claude/projects/-workspace/${TALK}/tool-results/MEMORY.md`,
    '.gemini/tmp/h/chats/GEMINI.md',
    '.gemini/tmp/h/chats/settings.json',
    '.gemini/tmp/h/chats/session-1.json',
    '.gemini/tmp/h/chats/hooks/session-1.jsonl',
    `.gemini/tmp/h/chats/${TALK}/GEMINI.md`,
    '.codex\\sessions\\a',
    `.codex/sessions/${'a'.repeat(201)}`,
    `.codex/sessions/${'a/'.repeat(16)}a`,
    '.CODEX/sessions/a',
    '.claude/settings.json',
    '.claude.json',
    '.gemini/settings.json',
    '.gemini/oauth_creds.json',
    '.gemini/tmp/chats/a',
    '.gemini/tmp/h/logs.json',
    '.gemini/tmp/../chats/a',
    '.gemini/tmp/a/b/chats/c',
    '.gemini/tmp//chats/a',
    'workspace/out/a',
    '',
  ])('T104: %j is no part of a conversation', (path) => {
    expect(isTranscriptPath(path)).toBe(false)
    expect(() => readTranscript(one(path), TASK)).toThrow(/no part of a conversation/)
  })

  test.each([
    '.codex/sessions/2026/12/01/rollout-2026-12-01T16-58-45-01a2328b-64c9-7852-9367-9e8c810b605b.jsonl',
    `.claude/projects/-workspace-repo/${TALK}.jsonl`,
    `.claude/projects/-workspace-repo/${TALK}/subagents/agent-a134d73843370d2a3.jsonl`,
    `.claude/projects/-workspace-repo/${TALK}/tool-results/b0qwseklm.txt`,
    '.gemini/tmp/repo/chats/session-2026-12-01T16-58-2e02f905.jsonl',
    `.gemini/tmp/repo/chats/${TALK}/0d1db355-1.jsonl`,
  ])('%j is one, as a real CLI names it', (path) => {
    expect(isTranscriptPath(path)).toBe(true)
    expect(readTranscript(one(path), TASK).files).toHaveLength(1)
  })

  test('the end of a text is 1 500 code points of it, and never half of one', () => {
    expect(lastOf('ab')).toBe('ab')
    const faces = '🙂'.repeat(2000)
    expect([...lastOf(faces)]).toHaveLength(1500)
    expect(lastOf(`${faces}x`)).toBe(`${'🙂'.repeat(1499)}x`)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 4000 }), (text) => lastOf(text).isWellFormed()),
      { numRuns: 30 },
    )
  })
})

describe('in a home', () => {
  let home: string
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'tr-'))
  })
  afterEach(() => rmSync(home, { recursive: true, force: true }))
  const put = (path: string, text = 'x', mtimeMs?: number) => {
    mkdirSync(dirname(join(home, path)), { recursive: true })
    writeFileSync(join(home, path), text)
    if (mtimeMs !== undefined) utimesSync(join(home, path), mtimeMs / 1000, mtimeMs / 1000)
  }
  function hubWith(bytes: Buffer | null, as: 'resume' | 'text' = 'resume') {
    const kept: Buffer[] = []
    const logs: string[] = []
    const leftOut: number[] = []
    const hub = {
      joined: {
        task: { task: TASK },
        program: { run: ['cli', '{earlier}'], resume: ['cli', 'resume'] },
        transcript: bytes === null ? null : { sha256: '', size: bytes.length, tries: as === 'text' ? 2 : 0, as },
      },
      artifact: {
        transcript: {
          put: async (given: Buffer, left: number) => {
            kept.push(Buffer.from(given))
            leftOut.push(left)
          },
          get: async () => bytes,
        },
      },
      log: async (line: string) => void logs.push(line),
    } as unknown as HubAgent
    return { hub, kept, leftOut, logs, newest: () => readTranscript(kept.at(-1) as Buffer, TASK) }
  }
  const below = (folder: string): string[] =>
    existsSync(join(home, folder))
      ? readdirSync(join(home, folder), { recursive: true, encoding: 'utf8' }).filter((path) =>
          lstatSync(join(home, folder, path)).isFile(),
        )
      : []

  test('T104: of a home only the closed list is kept: no configuration, no key, no link, nothing that a link leads to', async () => {
    for (const path of [
      '.codex/config.toml',
      '.codex/auth.json',
      '.codex/history.jsonl',
      '.claude/settings.json',
      '.claude.json',
      '.gemini/oauth_creds.json',
      '.gemini/tmp/h/logs.json',
    ])
      put(path, 'secret')
    put(ROLLOUT, 'codex')
    put(`.claude/projects/-workspace/${TALK}.jsonl`, 'claude')
    put('.gemini/tmp/h/chats/session-1.jsonl', 'gemini')
    // Beside them, by the hand of a CLI or of whoever works through it.
    const beside = [
      '.claude/projects/-workspace/memory/MEMORY.md',
      '.claude/projects/-workspace/CLAUDE.md',
      '.claude/projects/-workspace/.mcp.json',
      `.claude/projects/-workspace/${TALK}/subagents/agent-1.meta.json`,
      '.codex/sessions/2026/12/01/AGENTS.md',
      '.codex/sessions/config.toml',
      '.gemini/tmp/h/chats/GEMINI.md',
      '.gemini/tmp/h/chats/settings.json',
    ]
    for (const path of beside) put(path, 'secret')
    put('elsewhere/a.jsonl', 'secret')
    symlinkSync(join(home, '.codex/auth.json'), join(home, rollout('linked')))
    symlinkSync(join(home, 'elsewhere'), join(home, '.claude/projects/folder'))
    symlinkSync(join(home, 'elsewhere'), join(home, '.gemini/tmp/linked'))
    put('.codex/sessions/an odd name', 'odd')
    const { hub, kept, leftOut, newest } = hubWith(null)
    const conversation = await openTranscripts(hub, home)
    await conversation.save()
    expect(
      newest()
        .files.map(({ path, bytes }) => [path, bytes.toString()])
        .sort(),
    ).toEqual([
      [`.claude/projects/-workspace/${TALK}.jsonl`, 'claude'],
      [ROLLOUT, 'codex'],
      ['.gemini/tmp/h/chats/session-1.jsonl', 'gemini'],
    ])
    // Two links, an odd name, and what lay beside.
    expect(leftOut).toEqual([3 + beside.length])
    expect(kept[0]?.includes('secret')).toBe(false)
    // Nothing has changed: nothing is kept anew.
    await conversation.save()
    expect(kept).toHaveLength(1)
    put(ROLLOUT, 'codex and more')
    await conversation.save()
    expect(kept).toHaveLength(2)
  })

  test('T104: a folder of the list that is a link itself is not there', async () => {
    put(`elsewhere/${ROLLOUT.slice('.codex/'.length)}`, 'secret')
    symlinkSync(join(home, 'elsewhere'), join(home, '.codex'))
    const { hub, kept } = hubWith(null)
    await (await openTranscripts(hub, home)).save()
    expect(kept).toEqual([])
  })

  test('at most 64 MiB are kept, the newest first, and what stays behind is said', async () => {
    for (const [name, mtimeMs] of [
      ['old', 1000],
      ['new', 3000],
      ['middle', 2000],
    ] as const) {
      put(rollout(name), '')
      truncateSync(join(home, rollout(name)), TRANSCRIPT_BYTES_MAX / 2)
      utimesSync(join(home, rollout(name)), mtimeMs, mtimeMs)
    }
    const { hub, logs, newest } = hubWith(null)
    await (await openTranscripts(hub, home)).save()
    expect(newest().files.map(({ path }) => path)).toEqual([rollout('new'), rollout('middle')])
    expect(logs).toEqual([expect.stringContaining('of the conversation 1 older files are not kept')])
  })

  test('what was kept is put back at its place with its time, for its user alone, and the card’s other argv runs', async () => {
    const { hub, logs } = hubWith(packed(file(ROLLOUT, 'talk', 5_000_000)))
    const { argv, earlier, goesOn } = (await openTranscripts(hub, home)).begin()
    expect({ argv, earlier, goesOn }).toEqual({ argv: ['cli', 'resume'], earlier: '', goesOn: true })
    expect(readFileSync(join(home, ROLLOUT), 'utf8')).toBe('talk')
    const { mode, mtimeMs } = statSync(join(home, ROLLOUT))
    expect([mode & 0o777, mtimeMs, statSync(join(home, '.codex/sessions')).mode & 0o777]).toEqual([
      0o600, 5_000_000, 0o700,
    ])
    expect(logs).toEqual(['goes on with the conversation of an earlier start: 1 files, try 1 of 2'])
  })

  test.each([
    ['is cut', (bytes: Buffer) => bytes.subarray(0, -1), 'it is cut'],
    [
      'is of another task',
      () => packTranscript({ task: randomUUID(), text: 'secret', files: [file(ROLLOUT)] }),
      'it is of another task',
    ],
    [
      'leads elsewhere',
      () => one('../../etc/passwd'),
      'it holds a file that is no part of a conversation: "../../etc/passwd"',
    ],
  ])('T104: what %s is named and not used, not even in part, and the start is a fresh one', async (_, spoil, why) => {
    const { hub, logs } = hubWith(spoil(packed(file(rollout('a'), 'whole'), file(ROLLOUT, 'cut'))))
    expect((await openTranscripts(hub, home)).begin()).toEqual({
      argv: ['cli', '{earlier}'],
      earlier: '',
      goesOn: false,
    })
    expect(logs).toEqual([`the conversation of an earlier start cannot be used, so this one begins anew: ${why}`])
    expect(below('.codex')).toEqual([])
  })

  test('T104: what stands in the way is not written over: nothing of it is used, and the text alone is told', async () => {
    put('elsewhere', 'mine')
    mkdirSync(dirname(join(home, ROLLOUT)), { recursive: true })
    linkSync(join(home, 'elsewhere'), join(home, ROLLOUT))
    const { hub, logs } = hubWith(packed(file(rollout('a'), 'whole'), file(ROLLOUT, 'theirs')))
    const { earlier, goesOn } = (await openTranscripts(hub, home)).begin()
    expect([goesOn, earlier]).toEqual([false, expect.stringMatching(/\nsaid$/)])
    expect([readFileSync(join(home, 'elsewhere'), 'utf8'), below('.codex')]).toEqual(['mine', []])
    expect(logs[0]).toContain('EEXIST')
  })

  test('after two tries a start begins anew and is told the end of what was said, over all starts', async () => {
    const { hub, logs } = hubWith(packed(file(ROLLOUT)), 'text')
    const conversation = await openTranscripts(hub, home)
    const { argv, earlier } = conversation.begin()
    expect(argv).toEqual(['cli', '{earlier}'])
    expect(earlier).toMatch(/^\n\nAn earlier start of this task ended before it was done\. .*:\nsaid$/)
    expect([below('.codex'), logs]).toEqual([
      [],
      [expect.stringContaining('2 starts that went on with the conversation have fallen')],
    ])
    conversation.said('Hel', true)
    conversation.said('lo', true)
    conversation.said('', false)
    conversation.said('again\0', true)
    conversation.said('whole', false)
    expect(conversation.begin().earlier).toMatch(/:\nsaid\nHello\nagain\nwhole$/)
    conversation.said('🙂'.repeat(1600), false)
    expect(conversation.begin().earlier).toMatch(/:\n(?:🙂){1500}$/u)
  })

  test('what cannot be kept is said, and hinders nothing', async () => {
    put(ROLLOUT)
    const { hub, logs } = hubWith(null)
    const broken = {
      ...hub,
      artifact: { transcript: { put: () => Promise.reject(new Error('too_large')) } },
    } as unknown as HubAgent
    await (await openTranscripts(broken, home)).save()
    expect(logs).toEqual(['the conversation could not be kept: too_large'])
  })
})

describe('as a process', () => {
  let bench: ReturnType<typeof createShimBench>
  beforeEach(() => {
    bench = createShimBench()
  })
  afterEach(() => bench.close())

  /** A CLI that remembers: its request to a model is every turn of its conversation, which `out/request` holds. */
  const CLI = `
at = os.path.join(os.environ["HOME"], "${ROLLOUT}")
goes_on = sys.argv[1] == "resume"
if goes_on and not os.path.exists(at):
    print("no conversation found", file=sys.stderr); sys.exit(1)
os.makedirs(os.path.dirname(at), exist_ok=True)
with open(at, "a") as talk: talk.write(sys.argv[2] + "\\n")
open("out/request", "w").write(open(at).read())
say(type="thread.started", thread_id="t")
say(type="item.completed", item={"type": "agent_message", "text": "I answered " + sys.argv[2]})
`
  const FALLS = 'os.kill(os.getpid(), signal.SIGKILL)'
  const STAYS = 'time.sleep(600)'
  const ENDS = 'say(type="turn.completed", usage={"input_tokens": 5})'
  const begin = (end: string, transcript: Parameters<typeof bench.start>[0]['transcript'], id = TASK) => {
    const program = bench.python(CLI + end)
    return bench.start({
      program: {
        driver: 'stream-json',
        run: [...program, 'begin', 'my first words{earlier}'],
        resume: [...program, 'resume', 'go on'],
      },
      task: { task: id },
      transcript: transcript ?? null,
    })
  }

  test('the request of the second start holds the first turn: what a CLI that fell has left is kept, and put back before it begins', async () => {
    const first = await begin(FALLS, null)
    expect(await first.exit).toBe(1)
    const [kept] = first.session.transcripts
    const second = await begin(ENDS, { bytes: kept as Buffer })
    expect(await second.session.result).toMatchObject({ outcome: 'succeeded' })
    expect(second.artifact('request')).toBe('my first words\ngo on\n')
    expect(second.logs()).toContain('goes on with the conversation of an earlier start: 1 files, try 1 of 2')
    // It is over: there is no next start to keep it for.
    expect(second.session.transcripts).toEqual([])
    // Its text is told after two that fell.
    const last = await begin(ENDS, { bytes: kept as Buffer, tries: 2, as: 'text' })
    await last.session.result
    expect(last.artifact('request')).toMatch(/^my first words\n\nAn earlier start .*\nI answered my first words\n$/)
  })

  test('a start that is stopped from outside keeps it too', async () => {
    const stopped = await begin(STAYS, null)
    await expect.poll(() => stopped.logs(), { interval: 20 }).toContain('I answered my first words')
    stopped.session.deliver({ kind: 'finish', body: { graceMs: 3000 } })
    expect(await stopped.session.result).toMatchObject({ outcome: 'failed', stopped: true })
    expect(readTranscript(stopped.session.transcripts.at(-1) as Buffer, TASK)).toMatchObject({
      text: 'I answered my first words',
      files: [{ path: ROLLOUT }],
    })
  })

  test('a CLI that cannot go on with what it was given begins anew in the same start, and is told the text', async () => {
    // The file of another CLI: this one finds none of its own.
    const bytes = packed(file(`.claude/projects/x/${TALK}.jsonl`, 'of another'))
    const ran = await begin(ENDS, { bytes })
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
    expect(ran.logs()).toContain('the program could not go on with the conversation, and begins anew')
    expect(ran.artifact('request')).toMatch(/^my first words\n\nAn earlier start .*\nsaid\n$/)
  })

  test('a damaged one is no crash: the start is a fresh one', async () => {
    const ran = await begin(ENDS, { bytes: Buffer.from('garbage') })
    expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
    expect(ran.artifact('request')).toBe('my first words\n')
    expect(ran.logs()[0]).toMatch(/cannot be used, so this one begins anew: it has no list of its files/)
  })

  test('without the key nothing is kept, and {earlier} is a word like any other', async () => {
    const program = { driver: 'stream-json' as const, run: [...bench.python(CLI + FALLS), 'begin', 'words{earlier}'] }
    const ran = await bench.start({ program })
    expect(await ran.exit).toBe(1)
    expect([ran.session.transcripts, ran.artifact('request')]).toEqual([[], 'words{earlier}\n'])
  })
})
