/**
 * What a repository costs on its way into a session and out of it.
 *
 * `firstOutputRatio`: `hub submit --repo` to the first byte that a real CLI prints, against the same image started by `docker run`, which clones the
 * same bundle and starts the same CLI. The CLI is Gemini CLI by its recipe; its model is a server of this process, so nothing leaves the machine.
 * The two take turns. In both a shell stands around the CLI and notes the time of its first byte by the clock of the machine.
 *
 * `repoRoundTripMs`: a repository of 50 MB goes in, an agent commits one file, and its branch is fetched; against git alone on the same repository.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { parseDocument } from 'yaml'
import { HEAP_MIB, NIGHT, NPM } from '../../hub/client/cli/agents/recipes/recipe.ts'
import { imageIdOf, nameImage, removeImage } from '../../hub/client/cli/engine.ts'
import { pathsOf } from '../../hub/client/cli/home.ts'
import { AS_THEY_ARE } from '../../hub/client/repository/bundle.ts'
import { DEFAULT_LIMITS } from '../../hub/protocol/agent.ts'
import { assembleImages } from '../../scripts/images/assembly.ts'
import { type ContainerHome, openContainerHome, type Task, until } from '../support/container-home.ts'
import { ENGINE_SOCKET } from '../support/engine-socket.ts'
import { runHub } from '../support/fake-hub.ts'
import { type GitScene, gitScene } from '../support/git-scene.ts'
import { freshKey } from '../support/models/agents-home.ts'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import { load } from '../support/spy-image.ts'
import type { Figure } from './run.ts'
import { type Spread, spreadOf } from './spread.ts'

type Say = (line: string) => void
/** The model server is in this process, so nothing here may wait without it. */
const execute = promisify(execFile)
const root = resolve(import.meta.dirname, '../..')
const CLI_AGENT = 'bench-gemini'
const COMMITTER = 'bench-committer'
const IMAGE = `hub/${CLI_AGENT}`
const MODEL = 'gemini-2.5-pro'
const MB = 1_000_000
/** `--rounds N` takes another number for both. */
const STARTS = 7
const ROUNDS = 5

/** Runs its arguments and writes two times, in seconds since 1970, to the file in FIRST: that of the start and that of the first byte. */
const WATCHED =
  'set -o pipefail; start=$EPOCHREALTIME; "$@" | (IFS= read -r -N 1 c && first=$EPOCHREALTIME && printf "%s %s" "$start" "$first" >"$FIRST" && printf %s "$c" && exec cat)'
const COMMITS = 'date >committed.txt && git add committed.txt && git commit --quiet -m "One file"'

/** @throws Error saying what to run where something is missing that this bench does not fetch itself */
export function needRepositoryTools(): void {
  const script = join(root, 'scripts/cli')
  // npm installs from the cache of that script, without a network.
  if (spawnSync(script, ['path', 'gemini'], { stdio: 'ignore' }).status !== 0)
    throw new Error('Gemini CLI is not there: run `scripts/cli up gemini`, then this again')
  for (const program of ['git', 'docker'])
    if (spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined)
      throw new Error(`${program} is not there: install it, then run this again`)
}

/** A repository of so many bytes that nothing compresses. */
function repositoryOf(bytes: number): GitScene {
  const scene = gitScene()
  const files = bytes >= 20 * MB ? 800 : 400
  for (let at = 0; at < files; at += 1) scene.write(`src/d${at % 20}/f${at}.bin`, randomBytes(bytes / files))
  scene.commit({ 'README.md': 'A repository to measure with.\n' }, 'As it is')
  return scene
}

/** Each round brings something new: what the hub has already is not sent again. */
function renew(scene: GitScene, at: number): void {
  scene.git('switch', '--quiet', 'main')
  scene.commit({ round: `${at}\n` }, 'A round')
}

interface Bench extends AsyncDisposable {
  home: ContainerHome
  models: ModelServer
  run(...words: string[]): Promise<string>
}

/** A home with the CLI's agent, made by its recipe, and the agent that commits one file, in the same image. */
async function openBench(): Promise<Bench> {
  const models = await startModelServer(() => ({ text: 'Nothing to do.' }))
  const options = { root, cacheDir: join(root, '.cache/images'), folders: ['images/shell'], prefix: 'hub-test/' }
  await load(assembleImages(options))
  const of = (more: object) => ({ description: 'measured', driver: 'command', shell: true, limits: NIGHT, ...more })
  const home = await openContainerHome({
    cards: [
      // The engine is proven with an image that is there from the beginning.
      {
        name: 'other',
        description: 'not asked here',
        image: 'hub-test/shell',
        driver: 'command',
        run: ['true'],
        shell: true,
      },
      { name: COMMITTER, image: IMAGE, run: ['bash', '-c', COMMITS], ...of({}) },
    ],
    config: { limits: { agents: { [COMMITTER]: NIGHT } } },
  })
  const standing = await imageIdOf(pathsOf(home.home), IMAGE)
  const cache = execFileSync(join(root, 'scripts/cli'), ['cache'], { encoding: 'utf8' }).trim()
  const env = { npm_config_cache: cache, npm_config_offline: 'true' }
  const bench: Bench = {
    home,
    models,
    async run(...words) {
      const { code, stdout, stderr } = await runHub(home.home, words, { env })
      if (code !== 0) throw new Error(`hub ${words.join(' ')}: ${stdout}${stderr}`)
      return stdout
    },
    async [Symbol.asyncDispose]() {
      await removeImage(pathsOf(home.home), IMAGE)
      if (standing !== undefined) await nameImage(pathsOf(home.home), standing, IMAGE)
      await home.close()
      await models[Symbol.asyncDispose]()
    },
  }
  try {
    writeFileSync(join(home.home, 'secrets', 'google-key'), freshKey(), { mode: 0o600 })
    const where = ['--url', models.url, '--local', '--secret', 'google-key']
    await bench.run('upstream', 'add', 'google', '--kind', 'google', ...where, '--yes')
    const listed = () => home.hub('upstream', 'list')
    await until('the hub knows it', listed, ({ stdout }) => stdout.includes('google'))
    await bench.run('agent', 'new', CLI_AGENT, '--lang', 'gemini', '--yes')
    await bench.run('agent', 'build', CLI_AGENT)
    const file = join(home.home, 'agents', `${CLI_AGENT}.yaml`)
    const card = parseDocument(readFileSync(file, 'utf8'))
    const { run } = card.toJS() as { run: string[] }
    card.set('run', ['bash', '-c', WATCHED, 'watched', ...run])
    card.setIn(['env', 'FIRST'], '/workspace/out/first')
    writeFileSync(file, card.toString())
    await bench.run('agent', 'reload')
  } catch (thrown) {
    await bench[Symbol.asyncDispose]()
    throw thrown
  }
  return bench
}

/** What a session may use of the processors (work/sandbox/profile.ts). On a busy machine it has half the weight of others. */
const LIMITED = ['--cpus', String(DEFAULT_LIMITS.cpus), '--cpu-shares', '512']

/** All in milliseconds since the beginning. `accepted` and `joined` are the hub's alone. */
interface Start {
  accepted?: number
  joined?: number
  /** The repository is cloned, and the CLI is started. */
  started: number
  first: number
}
const watchedIn = (text: string): number[] => {
  const times = text
    .trim()
    .split(' ')
    .map((word) => Number(word) * 1000)
  if (times.length !== 2 || times.some((time) => !(time > 0))) throw new Error(`the CLI printed nothing: ${text}`)
  return times
}

async function joinedAtMs({ door }: ContainerHome): Promise<number> {
  const { records } = await door.call('audit.list', { action: 'session.joined', limit: 1 })
  return records[0]?.atMs ?? Number.NaN
}

async function byHub({ home }: Bench, dir: string): Promise<Start> {
  const out = mkdtempSync(join(tmpdir(), 'bench-out-'))
  try {
    const words = ['--repo', dir, '--no-change', '--param', 'task=Say that there is nothing to do.', '--out', out]
    const beginMs = Date.now()
    const task = await home.json<Task & { createdAtMs: number }>('submit', CLI_AGENT, ...words)
    if (task.state !== 'succeeded') throw new Error(`the CLI failed: ${JSON.stringify(task)}`)
    const [started = 0, first = 0] = watchedIn(readFileSync(join(out, 'first'), 'utf8'))
    return {
      accepted: task.createdAtMs - beginMs,
      joined: (await joinedAtMs(home)) - beginMs,
      started: started - beginMs,
      first: first - beginMs,
    }
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

async function bare({ home, models }: Bench, bundle: string, limits: readonly string[] = []): Promise<Start> {
  const out = mkdtempSync(join(tmpdir(), 'bench-bare-'))
  try {
    const card = parseDocument(readFileSync(join(home.home, 'agents', `${CLI_AGENT}.yaml`), 'utf8'))
    const { env } = card.toJS() as { env: Record<string, string> }
    const all = {
      ...env,
      FIRST: '/out/first',
      HOME: '/tmp',
      GOOGLE_GEMINI_BASE_URL: models.url,
      GEMINI_API_KEY: 'bare',
    }
    const cli = ['node', `--max-old-space-size=${HEAP_MIB}`, `${NPM}/@google/gemini-cli/bundle/gemini.js`]
    const asked = [
      `--model=${MODEL}`,
      '--approval-mode=yolo',
      '-o',
      'stream-json',
      '--prompt=Say that there is nothing to do.',
    ]
    const argv = [
      '-H',
      `unix://${ENGINE_SOCKET}`,
      'run',
      '--rm',
      '--network',
      'host',
      '--user',
      '0',
      '--entrypoint',
      'bash',
      ...limits,
    ]
    for (const [name, value] of Object.entries(all)) argv.push('--env', `${name}=${value}`)
    argv.push('--volume', `${bundle}:/source.bundle:ro`, '--volume', `${out}:/out`, '--tmpfs', '/workspace:exec', IMAGE)
    argv.push(
      '-c',
      `git clone --quiet --branch main /source.bundle /workspace/repo && cd /workspace/repo && ${WATCHED}`,
    )
    const beginMs = Date.now()
    await execute('docker', [...argv, 'watched', ...cli, ...asked])
    const [started = 0, first = 0] = watchedIn(readFileSync(join(out, 'first'), 'utf8'))
    return { started: started - beginMs, first: first - beginMs }
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

async function measureFirstOutput(bench: Bench, say: Say, rounds: number) {
  const scene = repositoryOf(5 * MB)
  try {
    const bundle = join(scene.dir, '.git', 'source.bundle')
    const rows: { hub: Start; bare: Start; limited: Start }[] = []
    for (let at = -1; at < rounds; at += 1) {
      renew(scene, at)
      scene.git(...AS_THEY_ARE, 'bundle', 'create', '--quiet', bundle, 'main')
      const row = {
        bare: await bare(bench, bundle),
        hub: await byHub(bench, scene.dir),
        limited: await bare(bench, bundle, LIMITED),
      }
      // The first of each warms what all of them read.
      if (at >= 0) rows.push(row)
    }
    const spread = (of: (row: (typeof rows)[number]) => number | undefined) =>
      spreadOf(rows.map((row) => of(row) ?? Number.NaN))
    const [hub, raw] = [spread((row) => row.hub.first), spread((row) => row.bare.first)]
    const limited = spread((row) => row.limited.first)
    say(
      `first byte of the CLI by docker run: ${raw.text} ms, of which the CLI ${spread(({ bare: b }) => b.first - b.started).text}`,
    )
    say(
      `the same with the processors of a session: ${limited.text} ms, of which the CLI ${spread(({ limited: b }) => b.first - b.started).text}`,
    )
    say(`first byte of the CLI by the hub: ${hub.text} ms`)
    const step = (name: string, of: (start: Required<Start>) => number) =>
      say(`  ${name}: ${spread((row) => of(row.hub as Required<Start>)).text} ms`)
    step('hub submit, until its task is there', ({ accepted }) => accepted)
    step('the container, until its shim has joined', ({ accepted, joined }) => joined - accepted)
    step('the input and the clone, until the CLI is started', ({ joined, started }) => started - joined)
    step('the CLI, until its first byte', ({ started, first }) => first - started)
    return { hub, raw, limited }
  } finally {
    scene.remove()
  }
}

/** In milliseconds since the beginning: the task is there, its shim has joined, its result is told, its branch is here. */
interface Round {
  accepted: number
  joined: number
  ended: number
  back: number
}

/** As a person does it: two commands. */
async function roundByHub({ home, run }: Bench, scene: GitScene, at: number): Promise<Round> {
  const beginMs = Date.now()
  const words = ['--repo', scene.dir, '--base', 'main', '--wait']
  const task = await home.json<Task & { createdAtMs: number }>('submit', COMMITTER, ...words)
  const ended = Date.now() - beginMs
  if (task.state !== 'succeeded') throw new Error(`the agent failed: ${JSON.stringify(task)}`)
  await run('branch', 'checkout', task.id, '--repo', scene.dir, '--as', `back-${at}`)
  const back = Date.now() - beginMs
  if (scene.git('log', '--format=%s', '-1', `back-${at}`) !== 'One file')
    throw new Error('the branch did not come back')
  return { accepted: task.createdAtMs - beginMs, joined: (await joinedAtMs(home)) - beginMs, ended, back }
}

/** Bundle, clone, commit, bundle, fetch. Packed as `hub submit` has it: by its own defaults git would look for deltas, for several times as long. */
function roundByGit(scene: GitScene, at: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'bench-git-'))
  try {
    const [bundle, clone, back] = [join(folder, 'in.bundle'), join(folder, 'repo'), join(folder, 'out.bundle')]
    const begin = performance.now()
    scene.git(...AS_THEY_ARE, 'bundle', 'create', '--quiet', bundle, 'main')
    scene.git('clone', '--quiet', '--branch', 'main', bundle, clone)
    writeFileSync(join(clone, 'committed.txt'), `${at}\n`)
    scene.git('-C', clone, 'add', 'committed.txt')
    scene.git('-C', clone, 'commit', '--quiet', '-m', 'One file')
    scene.git('-C', clone, 'bundle', 'create', '--quiet', back, 'origin/main..main')
    scene.git('fetch', '--quiet', back, `main:refs/heads/bare-${at}`)
    return performance.now() - begin
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measureRoundTrip(bench: Bench, say: Say, rounds: number) {
  const scene = repositoryOf(50 * MB)
  try {
    const pairs: { hub: Round; bare: number }[] = []
    for (let at = 0; at < rounds; at += 1) {
      renew(scene, at)
      pairs.push({ bare: roundByGit(scene, at), hub: await roundByHub(bench, scene, at) })
    }
    const spread = (of: (round: Round) => number) => spreadOf(pairs.map((pair) => of(pair.hub)))
    const [hub, raw] = [spread(({ back }) => back), spreadOf(pairs.map((pair) => pair.bare))]
    say(`50 MB in and out by git alone: ${raw.text} ms; by the hub: ${hub.text} ms`)
    const step = (name: string, of: (round: Round) => number) => say(`  ${name}: ${spread(of).text} ms`)
    step('hub submit, until its task is there', ({ accepted }) => accepted)
    step('the container, until its shim has joined', ({ accepted, joined }) => joined - accepted)
    step('clone, commit and branch, until the result is told', ({ joined, ended }) => ended - joined)
    step('hub branch checkout', ({ ended, back }) => back - ended)
    return { hub, raw }
  } finally {
    scene.remove()
  }
}

export async function benchRepository(say: Say, { rounds }: { rounds?: number }): Promise<Figure[]> {
  needRepositoryTools()
  await using bench = await openBench()
  const first = await measureFirstOutput(bench, say, rounds ?? STARTS)
  const round = await measureRoundTrip(bench, say, rounds ?? ROUNDS)
  const ms = (key: string, { median }: Spread, text: string): Figure => ({
    key,
    value: Math.round(median),
    unit: 'ms',
    text,
  })
  return [
    {
      key: 'firstOutputRatio',
      value: Math.round((first.hub.median / first.raw.median) * 100) / 100,
      unit: '',
      text: 'firstOutputMs / firstOutputBareMs. The aim is at most 1.3',
    },
    ms('firstOutputMs', first.hub, `hub submit --repo of 5 MB to the first byte of Gemini CLI; ${first.hub.text}`),
    {
      key: 'firstOutputLimitedRatio',
      value: Math.round((first.hub.median / first.limited.median) * 100) / 100,
      unit: '',
      text: 'the same against docker run with the processors of a session: what the hub itself adds',
    },
    ms('firstOutputBareMs', first.raw, `docker run of the same image, the same clone, the same CLI; ${first.raw.text}`),
    ms(
      'repoRoundTripMs',
      round.hub,
      `50 MB in, one commit, its branch fetched; ${round.hub.text}. The aim is below 5000`,
    ),
    ms(
      'repoRoundTripBareMs',
      round.raw,
      `the same by git alone: bundle, clone, commit, bundle, fetch; ${round.raw.text}`,
    ),
  ]
}
