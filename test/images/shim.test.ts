/** The shim and the shipped programs as processes, against the stand-in of the entrance: everything but the container. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Report } from '../../images/survey-lead/report.ts'
import {
  createAgentEntrance,
  type EntranceOptions,
  type EntranceSession,
  type SessionOptions,
} from '../support/agent-entrance.ts'
import { packFolder } from '../support/packed-file.ts'

const root = resolve(import.meta.dirname, '../..')
const main = (agent: string) => ['node', join(root, `images/${agent}/main.ts`)]
let dir = ''
let entrance: ReturnType<typeof createAgentEntrance>
let hooks: Omit<EntranceOptions, 'dir'> = {}
const children: ChildProcess[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sh-'))
  hooks = {}
  entrance = createAgentEntrance({
    dir,
    judge: (session, envelope) => hooks.judge?.(session, envelope),
    onAccepted: (session, envelope) => hooks.onAccepted?.(session, envelope),
  })
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await entrance.close()
  rmSync(dir, { recursive: true })
})

/** Starts the shim as the container would, and answers its session, its process and its exit code. */
async function start(options: SessionOptions, ...nodeArgs: string[]) {
  const session = await entrance.addSession(options)
  const workspace = join(dir, `w-${session.session}`)
  mkdirSync(workspace)
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const child = spawn(process.execPath, [...nodeArgs, join(root, 'images/agent/shim.ts')], {
    env: {
      PATH,
      NODE_COMPILE_CACHE,
      HUB_SOCKET: session.socketPath,
      HUB_SESSION: session.session,
      HUB_DEADLINE: String(Date.now() + 600_000),
      HUB_WORKSPACE: workspace,
      HUB_AGENT_HOME: join(workspace, 'home'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const exit = new Promise<number | null>((done) => child.on('close', (code) => done(code)))
  return { session, child, exit, workspace, output: () => output }
}

/** A program of a few lines that imports the SDK as the shipped ones do. */
function program(text: string): string[] {
  const file = join(dir, `p${Math.random().toString(36).slice(2)}.ts`)
  writeFileSync(file, `import { connect } from '${root}/hub/client/agent.ts'\nconst hub = await connect()\n${text}`)
  return ['node', file]
}

describe('the shim', () => {
  test('runs echo: its result is its parameters, exit code 0', async () => {
    const { session, exit } = await start({ program: { run: main('echo') }, task: { params: { hello: 'world' } } })
    expect(await session.result).toEqual({ outcome: 'succeeded', value: { hello: 'world' } })
    expect(await exit).toBe(0)
    expect(session.seen.filter(({ path }) => path === '/v1/join')).toHaveLength(1)
  })

  test('prepares the workspace, and stores what is left in out as artifacts before the result', async () => {
    const run = program(`
      import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
      hub.onTask(() => {
        const at = process.env.HUB_WORKSPACE
        mkdirSync(at + '/out/sub')
        writeFileSync(at + '/out/sub/a.txt', 'made')
        return { task: JSON.parse(readFileSync(at + '/task.json', 'utf8')), home: process.env.HOME, word: process.env.WORD }
      })`)
    const { session, exit, workspace } = await start({
      program: { run, env: { WORD: 'card' } },
      task: { params: { n: 1 } },
    })
    const { value } = await session.result
    expect(value).toMatchObject({
      task: { task: session.task.task, params: { n: 1 } },
      home: join(workspace, 'home'),
      word: 'card',
    })
    expect(entrance.blobs.get(session.artifactNames.get('sub/a.txt') ?? '')?.toString()).toBe('made')
    expect(session.seen.at(-1)?.envelope?.kind).toBe('result')
    expect(await exit).toBe(0)
  })

  test('fault C29: an odd name, a link and a socket fail by themselves, by name, and everything else is stored', async () => {
    const run = program(`
      import { symlinkSync, writeFileSync } from 'node:fs'
      import { createServer } from 'node:net'
      hub.onTask(async () => {
        const out = process.env.HUB_WORKSPACE + '/out/'
        for (const name of ['a.txt', 'b\\\\c.txt', 'd\\u0007.txt', 'z.txt']) writeFileSync(out + name, name)
        symlinkSync(out + 'a.txt', out + 'link')
        await new Promise((done) => createServer().unref().listen(out + 'sock', done))
        return 1
      })`)
    const { session, exit } = await start({ program: { run } })
    const { outcome, value, error } = (await session.result) as { outcome: string; value: unknown; error: string }
    expect([outcome, value]).toEqual(['succeeded', 1])
    expect([...session.artifactNames.keys()].sort()).toEqual(['a.txt', 'z.txt'])
    expect(error).toMatch(/^not stored as outputs: /)
    for (const said of [
      '"b\\\\c.txt" holds a backslash',
      '"d\\u0007.txt" holds a control character',
      '"link" is a link',
      '"sock" is a socket',
    ])
      expect(error).toContain(said)
    expect(await exit).toBe(0)
  })

  test('every ten minutes what is in out is kept, marked as unfinished, while the program works', async () => {
    const run = program(`
      import { writeFileSync } from 'node:fs'
      hub.onTask(() => new Promise(() => writeFileSync(process.env.HUB_WORKSPACE + '/out/half.txt', 'half')))`)
    // Ten minutes pass at once; no other timer does.
    const quick = 'const usual=setInterval;globalThis.setInterval=(act,ms)=>usual(act,ms===600000?20:ms)'
    const { session } = await start({ program: { run } }, '--import', `data:text/javascript,${quick}`)
    const kept = () => session.seen.filter(({ method }) => method === 'PUT').map(({ path }) => path.split('?')[1])
    await expect.poll(kept).toEqual(['name=half.txt&unfinished=true'])
    expect(entrance.blobs.get(session.artifactNames.get('half.txt') ?? '')?.toString()).toBe('half')
  })

  test('a program that falls leaves what it had, and the kernel would take it before the shim', async () => {
    const text = `const fs=require('node:fs');process.stdin.once('data',()=>{
      fs.writeFileSync('out/half.txt','half');fs.writeFileSync('out/own.txt',fs.readFileSync('/proc/self/oom_score_adj'))
      fs.writeFileSync('out/shim.txt',fs.readFileSync('/proc/'+process.ppid+'/oom_score_adj'));process.kill(process.pid,'SIGKILL')})`
    const { session, exit } = await start({ program: { driver: 'json-lines', run: ['node', '-e', text] } })
    expect(await exit).toBe(1)
    const puts = session.seen.filter(({ method }) => method === 'PUT').map(({ path }) => path.split('?')[1])
    expect(puts.sort()).toEqual(['half.txt', 'own.txt', 'shim.txt'].map((name) => `name=${name}&unfinished=true`))
    const read = (name: string) =>
      entrance.blobs
        .get(session.artifactNames.get(name) ?? '')
        ?.toString()
        .trim()
    expect([read('half.txt'), read('own.txt')]).toEqual(['half', '500'])
    expect(Number(read('shim.txt'))).toBeLessThan(500)
    expect(session.seen.some(({ envelope }) => envelope?.kind === 'result')).toBe(false)
  })

  test('says why a program could not be loaded', async () => {
    const { session, exit } = await start({ program: { run: ['node', '/nowhere/main.js'] } })
    expect(await session.result).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('/nowhere/main.js'),
    })
    expect(await exit).toBe(0)
  })

  test('a crash is an exit without a result: code 1', async () => {
    const { session, exit } = await start({
      program: {
        run: program(`hub.onTask(() => new Promise(() => setTimeout(() => { throw new Error('boom') }, 5)))`),
      },
    })
    expect(await exit).toBe(1)
    expect(session.seen.some(({ envelope }) => envelope?.kind === 'result')).toBe(false)
  })

  test('keeps the deadline from the join by itself: partial result, exit, before the hub has to stop it', async () => {
    const run = program(`hub.partial({ half: true }); await hub.log('ready'); hub.onTask(() => new Promise(() => {}))`)
    // A slow machine may not have loaded the program by then, or have no time left to say so: it gets another session, with more.
    for (let ttlMs = 2_500; ; ttlMs *= 2) {
      const { session, exit } = await start({ program: { run }, ttlMs })
      const result = await Promise.race([session.result, exit.then(() => undefined)])
      const isReady = session.seen.some(({ envelope }) => envelope?.kind === 'log')
      if (ttlMs < 100_000 && (!isReady || result === undefined)) continue
      expect(result).toMatchObject({ outcome: 'failed', value: { half: true } })
      expect(await exit).toBe(0)
      return
    }
  })

  test('SIGTERM aborts the task and leaves within five seconds, with a partial result', async () => {
    const run =
      program(`hub.onTask((_, signal) => new Promise((done) => signal.addEventListener('abort', () => done({ at: 9 }))))
      void hub.log('ready')`)
    let ready = () => {}
    const isReady = new Promise<void>((done) => (ready = done))
    hooks.onAccepted = (_, { kind }) => kind === 'log' && ready()
    const { session, child, exit } = await start({ program: { run } })
    await isReady
    const askedAt = performance.now()
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
    expect(performance.now() - askedAt).toBeLessThan(5_000)
    expect(await session.result).toMatchObject({ outcome: 'failed', value: { at: 9 } })
  })
})

describe('the survey, lead and readers as processes', () => {
  /** Starts a reader for every delegation, as the hub would, and refuses the one message no rule allows. */
  function runDelegations(readers: EntranceSession[], { delegationsMax = 9, lost = 0 }): void {
    let delegations = 0
    hooks.judge = (_, { kind, type }) => {
      if (kind === 'delegate') delegations += 1
      const denied = type === 'survey.gossip' || (kind === 'delegate' && delegations > delegationsMax)
      return denied ? { code: 'policy_denied' } : undefined
    }
    hooks.onAccepted = (parent, { kind, id, body }) => {
      if (kind !== 'delegate') return
      void (async () => {
        const task = { params: body.params as Record<string, unknown>, inputs: parent.task.inputs, parent }
        const child = await start({ agent: 'survey-reader', program: { run: main('survey-reader') }, task })
        readers.push(child.session)
        const result = await Promise.race([
          child.session.result,
          child.exit.then(() => ({ outcome: 'failed' as const, error: 'crashed' })),
        ])
        // As if that many of its messages had never arrived.
        if ('value' in result && lost > 0) (result.value as { messages: number }).messages += lost
        parent.deliver({
          kind: 'reply',
          correlationId: id,
          body: { task: child.session.task.task, artifacts: [], ...result },
        })
      })()
    }
  }

  async function survey(tree: string, params: Record<string, unknown> = {}, faults = {}) {
    const packed = await packFolder(tree, { bytesMax: 1e8, filesMax: 1e5, tmpDir: dir })
    const inputs = {
      manifest: entrance.store(packed.manifestBytes),
      pack: entrance.store(readFileSync(packed.pack.file)),
    }
    const readers: EntranceSession[] = []
    runDelegations(readers, faults)
    const lead = await start({ agent: 'survey-lead', program: { run: main('survey-lead') }, task: { params, inputs } })
    const result = await lead.session.result
    const artifact = (name: string) => entrance.blobs.get(lead.session.artifactNames.get(name) ?? '')?.toString() ?? ''
    return {
      result,
      lead,
      readers,
      packed,
      json: () => JSON.parse(artifact('report.json')) as Report,
      text: artifact('report.md'),
    }
  }

  test('reports this repository as git and wc know it, from three readers that each read only their own range', async () => {
    const { result, lead, readers, packed, json, text } = await survey(join(root, 'hub'))
    expect(lead.output()).toBe('')
    expect(result).toMatchObject({ outcome: 'succeeded', value: { readers: 3 } })
    const report = json()
    const count = (command: string) =>
      Number(execFileSync('sh', ['-c', command], { cwd: join(root, 'hub'), encoding: 'utf8' }))
    const list = 'git ls-files -coz --exclude-standard'
    // Other work goes on in this tree, so the truth is that of the pack, and git's where nothing moved meanwhile.
    expect(report.totals.files).toBe(packed.manifest.files.length)
    expect(report.totals.bytes).toBe(packed.pack.size)
    const pack = readFileSync(packed.pack.file)
    expect(report.totals.lines).toBe(pack.reduce((sum, byte) => sum + Number(byte === 10), 0))
    expect(Math.abs(report.totals.files - count(`${list} | tr '\\0' '\\n' | wc -l`))).toBeLessThan(10)
    expect(readers).toHaveLength(3)
    const ranges = readers.map(({ seen }) =>
      seen.flatMap(({ range }) => (range === undefined ? [] : range.slice(6).split('-').map(Number))),
    )
    const spans = ranges.map((each) => [Math.min(...each), Math.max(...each)]).sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0))
    for (const [index, [first]] of spans.entries())
      expect(first).toBe(index === 0 ? 0 : (spans[index - 1]?.[1] ?? 0) + 1)
    expect(report.refusals).toMatchObject([{ type: 'survey.gossip', code: 'policy_denied' }])
    expect(text).toContain('the hub answered policy_denied')
    const progress = lead.session.seen.flatMap(({ envelope }) =>
      envelope?.kind === 'progress' ? [String(envelope.body.text)] : [],
    )
    expect(progress.length).toBeGreaterThan(0)
    expect(await lead.exit).toBe(0)
    await packed.remove()
  })

  test('says in report and result which part is missing when a reader is refused', async () => {
    const tree = join(dir, 'tree')
    mkdirSync(tree)
    for (const name of ['a.ts', 'b.ts', 'c.ts']) writeFileSync(join(tree, name), 'x\n'.repeat(5))
    const { result, json, text } = await survey(tree, { readers: '2' }, { delegationsMax: 1 })
    expect(result).toMatchObject({ outcome: 'failed', error: expect.stringContaining('1 of 2 parts') })
    expect(json().totals.files).toBeLessThan(3)
    expect(text).toContain('**Incomplete**: part 2')
  })

  test('holds what a reader says it sent against what arrived', async () => {
    const tree = join(dir, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'a.ts'), 'x\n')
    const { result, json } = await survey(tree, {}, { lost: 1 })
    expect(result.outcome).toBe('failed')
    expect(json().readers).toMatchObject([
      { part: 1, fault: expect.stringMatching(/^(\d) of (?!\1)\d messages arrived/) },
    ])
  })

  test('refuses a number of readers it does not know', async () => {
    const { session } = await start({
      agent: 'survey-lead',
      program: { run: main('survey-lead') },
      task: { params: { readers: 9 }, inputs: { manifest: 'a'.repeat(64), pack: 'b'.repeat(64) } },
    })
    expect((await session.result).error).toContain('from 2 to 4')
  })
})
