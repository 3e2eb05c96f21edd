/**
 * `upstreams` of hub.yaml: what agents may reach outside, once card and rules grant it (docs/egress.md 2). Pure: no name is resolved here, and
 * no secret is read. What an address turns out to be is judged again at each connection.
 */
import { isIP } from 'node:net'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { kindForEgress } from '../../base/addresses.ts'
import { nameShape } from '../ids.ts'
import { sizeShape, spanShape } from '../spans.ts'

export type UpstreamKind = 'anthropic' | 'openai' | 'google' | 'git' | 'npm' | 'pypi' | 'http'
/**
 * What one request is to the rules: `metered` costs money, `free` is a model server's list or count, `read` and `write` are for the rest,
 * `connect` is a line to a host that is no upstream.
 */
export type EgressClass = 'metered' | 'free' | 'read' | 'write' | 'connect'

/** Which classes the requests of each kind have. */
export const CLASSES_OF: Readonly<Record<UpstreamKind, readonly EgressClass[]>> = {
  anthropic: ['metered', 'free'],
  openai: ['metered', 'free'],
  google: ['metered', 'free'],
  git: ['read', 'write'],
  npm: ['read'],
  pypi: ['read'],
  http: ['read', 'write'],
}

/** Where the key is put on the way outward. */
export type UpstreamAuth = { form: 'bearer' } | { form: 'basic' } | { form: 'header'; name: string }
/** The name of a secret of the home, or a program that the hub runs outside of every container, and how long its answer is good. */
export type UpstreamSecret = string | { command: string[]; ttlMs: number }

/** One upstream with every default filled in; a list that its kind does not have is empty. */
export interface Upstream {
  name: string
  kind: UpstreamKind
  /** Its base, without a slash at the end. https, or http if it is `local`. */
  url: string
  secret: UpstreamSecret | undefined
  auth: UpstreamAuth
  /** It is on this machine or in a private network. */
  local: boolean
  /** Its models cost no money. */
  free: boolean
  /** `GET /v1/forecast*` of kind http. */
  allow: readonly string[]
  repositories: readonly string[]
  push: readonly string[]
  /** Branches that may bring a new or changed folder `workflows`. */
  workflows: readonly string[]
  /** Base URL of the second host of a registry. */
  files: string | undefined
  /** How old a package must be. */
  minAgeMs: number | undefined
  serverTools: readonly string[]
  /** `NAME`, or `NAME: VALUE` for that value alone. */
  headers: readonly string[]
  bodyBytesMax: number
  /** Tokens that one answer may have. */
  maxOutput: number
}

const URLS = {
  anthropic: 'https://api.anthropic.com',
  openai: 'https://api.openai.com',
  google: 'https://generativelanguage.googleapis.com',
} as const
const PAID: ReadonlySet<string> = new Set(Object.values(URLS))
/** Hosts of OpenAI and Google that keep a request in one region, which costs more (as both say on their pages about data residency). */
const REGIONAL =
  /^(?:[a-z]{2,8}\.api\.openai\.com|[a-z0-9-]+-aiplatform\.googleapis\.com|aiplatform\.[a-z]{2,8}\.rep\.googleapis\.com)$/
/** Whether its host makes each of its calls dearer. */
export const isRegional = ({ url }: Pick<Upstream, 'url'>): boolean => REGIONAL.test(new URL(url).hostname)

const AUTHS: Readonly<Record<UpstreamKind, UpstreamAuth>> = {
  anthropic: { form: 'header', name: 'x-api-key' },
  openai: { form: 'bearer' },
  google: { form: 'header', name: 'x-goog-api-key' },
  git: { form: 'basic' },
  npm: { form: 'bearer' },
  pypi: { form: 'basic' },
  http: { form: 'bearer' },
}

const UPSTREAMS_MAX = 64
const LIST_MAX = 64
const BODY_BYTES = 64 * 1024 ** 2
const BODY_BYTES_MAX = 256 * 1024 ** 2
const OUTPUT_TOKENS = 32_000
const OUTPUT_TOKENS_MAX = 1_000_000
const TTL_MS_MAX = 24 * 3_600_000

/** Headers that the hub writes itself, and those that speak about the line and not about the request. */
const OWN_HEADER =
  /^(?:host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|via|cookie|set-cookie|authorization|proxy-.*|content-.*|accept-encoding|forwarded|x-forwarded-.*|x-http-method.*|x-method-.*)$/
const KEY_HEADER = /^(?:x-api-key|x-goog-api-key|api-key)$/
/** Letters and digits in turn, in one run: nobody chooses such a name. */
const RANDOM_NAME = /(?=(?:[a-z]*\d+[a-z]+){3})[a-z0-9]{20,}/
const SECRET_WORDS = 'must be the name of a file in HOME/secrets, or { command: [/a/program], ttl: 10m }'

const secretShape = z
  .union(
    [
      nameShape.refine((name) => !RANDOM_NAME.test(name), `looks like the secret itself; it ${SECRET_WORDS}`),
      z
        .strictObject({
          command: z
            .array(z.string().min(1).max(1000))
            .min(1)
            .max(32)
            .refine(([program = '']) => isAbsolute(program)),
          ttl: spanShape.refine((ms) => ms >= 1000 && ms <= TTL_MS_MAX),
        })
        .transform(({ command, ttl }) => ({ command, ttlMs: ttl })),
    ],
    {
      error: `${SECRET_WORDS}: the program by its absolute path, and ttl from 1s to 24h`,
    },
  )
  .optional()
  .describe(
    'the name of the secret that holds its key: a file `HOME/secrets/NAME` (mode 0600), read at each use. Or `{ command: [/a/program, ...], ttl: 10m }`: the hub runs it outside of every container, and takes what it prints',
  )

const authShape = z
  .string()
  .max(80)
  .transform((text, context): UpstreamAuth => {
    if (text === 'bearer' || text === 'basic') return { form: text }
    const name = /^header ([a-zA-Z][a-zA-Z0-9-]{0,63})$/.exec(text)?.[1]?.toLowerCase()
    if (name !== undefined && !OWN_HEADER.test(name)) return { form: 'header', name }
    const message =
      name === undefined
        ? 'must be bearer, basic, or header NAME'
        : 'names a header that the hub writes itself; `bearer` and `basic` are for authorization'
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
  .optional()

const listOf = (entry: z.ZodString, most = LIST_MAX) =>
  z
    .array(entry)
    .max(most)
    .refine((list) => new Set(list).size === list.length, 'an entry is there twice')
const text = (most: number) => z.string().min(1).max(most)

const common = {
  secret: secretShape,
  auth: authShape.describe(
    'how the key is sent: `bearer`, `basic`, or `header NAME`. Without it as its kind does: `x-api-key` for anthropic, `x-goog-api-key` for google, `basic` for git and pypi, else `bearer`',
  ),
  local: z
    .boolean()
    .default(false)
    .describe(
      'it is on this machine or in a private network; only then may its address be private, and only then http',
    ),
  bodyBytes: sizeShape
    .refine((bytes) => bytes <= BODY_BYTES_MAX, 'its ceiling is 256MiB')
    .default(BODY_BYTES)
    .describe('the largest body of one request; at most 256MiB'),
}
const url = text(2000)
const neededUrl = { url: url.describe('its base address: https, without a user, a query or a key in it') }
const ofModels = (own: string) => ({
  ...common,
  url: url.default(own).describe('its base address, without the path of the API: https, or http if it is `local`'),
  price: z
    .enum(['free'])
    .optional()
    .describe('`free`: a model of your own; tokens are counted, and no money. Without it a model needs a price'),
  serverTools: listOf(
    text(64)
      .regex(/^[a-z0-9_]+$/, 'a type of tool is a-z, 0-9 and _')
      .refine((type) => !type.includes('mcp'), 'connectors (MCP) at the provider are never passed; remove it'),
  )
    .default([])
    .describe('types of tools that may run at the provider, such as web_search; each is a way out that no rule sees'),
  headers: listOf(
    text(300)
      .regex(
        /^[a-z][a-z0-9-]{0,63}(?:: [\x21-\x7e]{1,200})?$/,
        'must be the name of a header in small letters, or NAME: VALUE',
      )
      .refine((entry) => {
        const [name = ''] = entry.split(':')
        return !OWN_HEADER.test(name) && !KEY_HEADER.test(name)
      }, 'is a header that the hub writes itself; remove it'),
  )
    .default([])
    .describe('further request headers that may pass: `NAME`, or `NAME: VALUE` for that value alone'),
  maxOutput: z
    .int()
    .min(1)
    .max(OUTPUT_TOKENS_MAX)
    .default(OUTPUT_TOKENS)
    .describe('tokens that one answer may have: the hub writes this cap into each request'),
})

const pathPattern = /^[A-Za-z0-9_][\w.-]*(?:\/[A-Za-z0-9_][\w.-]*)*(?:\/\*)?$/
const allowed = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE) \/(?:[\w.~-]+(?:\/[\w.~-]+)*\/?)?\*?$/
const isPlain = (path: string) => !/(?:^|\/)\.{1,2}(?:\/|$)/.test(path)

const ofRegistry = {
  ...common,
  ...neededUrl,
  files: url.optional().describe('the base address of the second host, from which its archives come'),
  minAge: spanShape.optional().describe('how old a version of a package must be before it is given out'),
}

/** Each kind as a person writes it; a shape of its own, for the page about the file. */
const KINDS = {
  anthropic: z.strictObject({ kind: z.literal('anthropic'), ...ofModels(URLS.anthropic) }),
  openai: z.strictObject({ kind: z.literal('openai'), ...ofModels(URLS.openai) }),
  google: z.strictObject({ kind: z.literal('google'), ...ofModels(URLS.google) }),
  git: z.strictObject({
    kind: z.literal('git'),
    ...common,
    ...neededUrl,
    repositories: listOf(text(200).regex(pathPattern, 'must be a repository, such as me/tool, or me/*').refine(isPlain))
      .min(1)
      .describe('which repositories: `me/tool`, or `me/*`'),
    push: listOf(text(200).regex(pathPattern, 'must be a branch, such as hub/fix, or hub/*').refine(isPlain))
      .default([])
      .describe('to which branches may be pushed, such as `hub/*`; none without it'),
    workflows: z
      .union(
        [
          z.boolean(),
          listOf(text(200).regex(pathPattern, 'must be a branch, such as hub/fix, or hub/*').refine(isPlain)),
        ],
        {
          error: 'must be true, or a list of branches, such as hub/ci or hub/*',
        },
      )
      .default(false)
      .describe(
        'to which of these branches a push may bring changes below `.github/workflows`, which servers run with keys of their own: `true` for all of them, or a list; none without it',
      ),
  }),
  npm: z.strictObject({ kind: z.literal('npm'), ...ofRegistry }),
  pypi: z.strictObject({ kind: z.literal('pypi'), ...ofRegistry }),
  http: z.strictObject({
    kind: z.literal('http'),
    ...common,
    ...neededUrl,
    allow: listOf(
      text(300)
        .regex(allowed, 'must be a method and a path, such as GET /v1/forecast*')
        .refine((entry) => isPlain(entry), 'holds a path with . or .. in it'),
    )
      .min(1)
      .describe('which requests: a method and a path, `*` at its end for whatever follows'),
  }),
}

/** Kinds that people know and the hub does not have, each with the way there is. */
const OTHER_KINDS: Readonly<Record<string, string>> = {
  bedrock:
    'is not supported: each of its requests must be signed with a key of AWS, and the hub signs none. Use the API of the provider itself',
  azure: 'is reached with kind openai: give its url, and auth: header api-key',
  vertex: 'is reached with kind google: give its url, auth: bearer, and a secret by command',
  openrouter: 'is reached with kind openai: give its url',
  ollama: 'is reached with kind openai: give its url, local: true and price: free',
}

/** Why a kind that is known elsewhere is none here; undefined for any other word. */
function otherKind(given: unknown): string | undefined {
  const kind: unknown = typeof given === 'object' && given !== null ? Reflect.get(given, 'kind') : undefined
  return typeof kind === 'string' && Object.hasOwn(OTHER_KINDS, kind) ? `${kind} ${OTHER_KINDS[kind]}` : undefined
}

export const upstreamShape = z.discriminatedUnion(
  'kind',
  [KINDS.anthropic, KINDS.openai, KINDS.google, KINDS.git, KINDS.npm, KINDS.pypi, KINDS.http],
  { error: ({ input }) => otherKind(input) },
)
type Given = z.output<typeof upstreamShape>

/** Names that lead to this machine or its network wherever they are asked for (RFC 6761, 6762, 8375, 9476 and ICANN's `internal`). */
const PRIVATE_NAME = /(?:^|\.)(?:localhost|local|internal|home\.arpa|lan|intranet|private|corp|home)$/
const BEDROCK = /(?:^|\.)bedrock(?:-[a-z0-9-]+)?\.[a-z0-9.-]*amazonaws\.com(?:\.cn)?$/
const URL_FORM =
  'must be written plainly: https://HOST, with :PORT and /PATH if needed; small letters, no user, query, backslash, percent sign or dot segment, no port that is the usual one'

/**
 * What is wrong with it, in words that repeat nothing of it; undefined if nothing is. It must be spelled exactly as one parser reads it, so that
 * no other reads it differently.
 */
function urlProblem(text: string, local: boolean): string | undefined {
  if (!URL.canParse(text)) return URL_FORM
  const { protocol, hostname, origin, pathname, username, password } = new URL(text)
  if (protocol !== 'https:' && protocol !== 'http:') return 'must begin with https://'
  if (username !== '' || password !== '') return 'contains a user; the key belongs into HOME/secrets/NAME'
  const path = pathname === '/' ? '' : pathname
  if (![`${origin}${path}`, `${origin}${path}/`].includes(text) || hostname.endsWith('.')) return URL_FORM
  if (!/^(?:\/[\w.~-]+)*\/?$/.test(path)) return URL_FORM
  if (protocol === 'http:' && !local)
    return 'is http, which is for what is on this machine or in a private network: use https, or say local: true'
  if (BEDROCK.test(hostname))
    return 'is Bedrock, which is not supported: each of its requests must be signed with a key of AWS, and the hub signs none'
  return addressProblem(hostname.replace(/^\[(.*)\]$/, '$1'), local)
}

function addressProblem(host: string, local: boolean): string | undefined {
  if (isIP(host) === 0) {
    const isPrivate = PRIVATE_NAME.test(host) || !host.includes('.')
    return isPrivate && !local ? 'leads to this machine or its network: say local: true if that is meant' : undefined
  }
  const kind = kindForEgress(host)
  if (kind === 'never') return 'is an address of a kind that is never used'
  if (kind === 'private' && !local) return 'is a private address: say local: true if that is meant'
  if (kind === 'public' && local)
    return 'is a public address, and local says it is on this machine or in a private network: remove local'
  return undefined
}

/** Whether one entry of a list of branches names nothing that these do not name. */
const isCovered = (entry: string, globs: readonly string[]): boolean =>
  globs.some((glob) => glob === entry || (glob.endsWith('/*') && entry.startsWith(glob.slice(0, -1))))

type Wrong = (key: string, message: string) => void

/** What fits each key and not the others. */
function judgeTogether(given: Given, wrong: Wrong): void {
  const problem = urlProblem(given.url, given.local)
  if (problem !== undefined) wrong('url', problem)
  const isModel = given.kind === 'anthropic' || given.kind === 'openai' || given.kind === 'google'
  if (isModel && given.secret === undefined && !given.local)
    wrong('secret', 'is missing: name the file in HOME/secrets that holds its key')
  const isPaid = isModel && URL.canParse(given.url) && (PAID.has(new URL(given.url).origin) || isRegional(given))
  if (isPaid && given.price === 'free')
    wrong('price', 'is free, but this provider asks for money; remove it, and its models are priced')
  if (isPaid && given.local) wrong('url', "is missing: its kind's own address is not on this machine; or remove local")
  if (given.secret === undefined && given.auth !== undefined) wrong('auth', 'says how a key is sent; name it: secret')
  if (given.kind === 'git' && given.push.length > 0 && given.secret === undefined)
    wrong('secret', 'is missing: nobody pushes without a key')
  if (given.kind === 'git') {
    const { push, workflows } = given
    const others = Array.isArray(workflows) ? workflows.filter((entry) => !isCovered(entry, push)) : []
    if (others.length > 0) wrong('workflows', `names what push does not list: ${others.join(', ')}`)
    if (workflows === true && push.length === 0) wrong('workflows', 'is true, and push lists no branch')
  }
  if ((given.kind === 'npm' || given.kind === 'pypi') && given.files !== undefined) {
    const second = urlProblem(given.files, given.local)
    if (second !== undefined) wrong('files', second)
  }
}

function workflowsOf(given: Given): readonly string[] {
  if (given.kind !== 'git' || given.workflows === false) return []
  return given.workflows === true ? given.push : given.workflows
}

const completed = (name: string, given: Given): Upstream => ({
  ...{ name, kind: given.kind, url: given.url.replace(/\/$/, ''), local: given.local, secret: given.secret },
  auth: given.auth ?? AUTHS[given.kind],
  free: 'price' in given && given.price === 'free',
  allow: 'allow' in given ? given.allow : [],
  repositories: 'repositories' in given ? given.repositories : [],
  push: 'push' in given ? given.push : [],
  workflows: workflowsOf(given),
  files: 'files' in given ? given.files?.replace(/\/$/, '') : undefined,
  minAgeMs: 'minAge' in given ? given.minAge : undefined,
  serverTools: 'serverTools' in given ? given.serverTools : [],
  headers: 'headers' in given ? given.headers : [],
  bodyBytesMax: given.bodyBytes,
  maxOutput: 'maxOutput' in given ? given.maxOutput : OUTPUT_TOKENS,
})

const oneShape = upstreamShape.superRefine((given, context) =>
  judgeTogether(given, (key, message) => context.addIssue({ code: 'custom', path: [key], message })),
)

/** All of them, each with its name. */
export const upstreamsShape = z
  .record(nameShape, oneShape)
  .refine((all) => Object.keys(all).length <= UPSTREAMS_MAX, `are more than ${UPSTREAMS_MAX}`)
  .transform((all): readonly Upstream[] => Object.entries(all).map(([name, given]) => completed(name, given)))
