/** The pages about the HTTP API: for people, and as OpenAPI 3.1 for programs. */
import { z } from 'zod'
import { ERRORS } from '../../hub/base/errors.ts'
import { ANSWERS, type AnsweredName } from '../../hub/protocol/answers.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { AGENT_ROUTES, type AgentRouteName, ROUTES } from '../../hub/protocol/routes.ts'
import { problemShape } from '../../hub/protocol/views.ts'
import { code, page, table } from './markdown.ts'

type Json = Record<string, unknown>
const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Leaves out the bound of numbers that have none: the largest that JSON holds exactly, which tells a reader nothing. */
const withoutSafe = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(withoutSafe)
    : isJson(value)
      ? Object.fromEntries(
          Object.entries(value)
            .filter(
              ([key, each]) =>
                key !== '$schema' && !(typeof each === 'number' && Math.abs(each) >= Number.MAX_SAFE_INTEGER),
            )
            .map(([key, each]) => [key, withoutSafe(each)]),
        )
      : value
function schemaOf(shape: z.core.$ZodType, io: 'input' | 'output'): Json {
  const schema = withoutSafe(z.toJSONSchema(shape, { io, unrepresentable: 'any' }))
  return isJson(schema) ? schema : {}
}

interface Served {
  name: AnsweredName
  method: string
  path: string
  does: string
  answer: z.ZodType | null
  request: Json
}
const isAnswered = (name: string): name is AnsweredName => Object.hasOwn(ANSWERS, name)
const served: readonly Served[] = Object.entries(ROUTES).map(([name, { method, path }]) => {
  if (!isAnswered(name)) throw new Error(`${name} has a route and no answer: hub/protocol/answers.ts`)
  const { does, answer } = ANSWERS[name]
  return { name, method, path, does, answer, request: schemaOf(OPERATIONS[name].request, 'input') }
})

const propertiesOf = ({ request }: Served): [string, Json][] =>
  Object.entries(isJson(request.properties) ? request.properties : {}).flatMap(([key, value]) =>
    isJson(value) ? [[key, value] as [string, Json]] : [],
  )
const requiredOf = ({ request }: Served): readonly unknown[] =>
  Array.isArray(request.required) ? request.required : []
const inPath = ({ path }: Served, key: string) => path.includes(`:${key}`)

/** A field in a few words: `text`, `true or false`, one of some words. */
function typeText(schema: Json): string {
  if (Array.isArray(schema.enum)) return schema.enum.map((word) => code(String(word))).join(', ')
  if (schema.const !== undefined) return code(JSON.stringify(schema.const))
  if (Array.isArray(schema.anyOf)) return schema.anyOf.map((one) => (isJson(one) ? typeText(one) : '')).join(' or ')
  if (schema.type === 'array') return `list of ${isJson(schema.items) ? typeText(schema.items) : 'anything'}`
  const words: Json = {
    string: 'text',
    integer: 'whole number',
    number: 'number',
    boolean: 'true or false',
    object: 'object',
    null: 'null',
  }
  return typeof schema.type === 'string' ? String(words[schema.type] ?? schema.type) : 'anything'
}
const meansOf = (schema: Json): string => (typeof schema.description === 'string' ? schema.description : '')
function limitOf(schema: Json): string {
  const part = (key: string, words: string) => (typeof schema[key] === 'number' ? [`${words} ${schema[key]}`] : [])
  return [
    ...part('minimum', 'at least'),
    ...part('exclusiveMinimum', 'above'),
    ...part('maximum', 'at most'),
    ...part('maxItems', 'at most'),
    ...(typeof schema.maxLength === 'number' ? [`at most ${schema.maxLength} characters`] : []),
  ].join(', ')
}
const usualOf = (schema: Json, isNeeded: boolean): string =>
  schema.default === undefined ? (isNeeded ? 'needed' : 'none') : code(JSON.stringify(schema.default))

/** Fields of an answer, those of the things in it below their name. */
function answerRows(schema: Json, before = ''): string[][] {
  const properties = isJson(schema.properties) ? schema.properties : {}
  return Object.entries(properties).flatMap(([key, value]) => {
    if (!isJson(value)) return []
    return [[code(`${before}${key}`), typeText(value), meansOf(value)]]
  })
}

function chapter(one: Served): string[] {
  const { name, method, path, does, answer } = one
  const fields = propertiesOf(one).map(([key, schema]) => [
    code(key),
    inPath(one, key) ? 'path' : method === 'GET' || method === 'PUT' ? 'query' : 'body',
    typeText(schema),
    usualOf(schema, requiredOf(one).includes(key)),
    limitOf(schema),
  ])
  const shown = answer === null ? [] : answerRows(schemaOf(answer, 'output'))
  return [
    `## ${name}`,
    `\`${method} ${path}\`. ${does}`,
    ...(fields.length === 0 ? [] : [table(['Field', 'Where', 'Type', 'Default', 'Limit'], fields)]),
    ...(shown.length === 0 ? [] : [table(['Answer', 'Type', 'Meaning'], shown)]),
  ]
}

const isOfAgents = (name: string): name is AgentRouteName => Object.hasOwn(AGENT_ROUTES, name)
/** What an agent's socket serves. An operation that people have too stands in its own chapter above, and here as a line. */
function agentChapter(): string[] {
  const names = Object.keys(AGENT_ROUTES).filter(isOfAgents)
  const row = (name: AgentRouteName) => {
    const { method, path } = AGENT_ROUTES[name]
    return [Object.hasOwn(ROUTES, name) ? `[${name}](#${name.replace('.', '')})` : name, code(`${method} ${path}`)]
  }
  const own = names.filter((name) => !Object.hasOwn(ROUTES, name))
  return [
    "## On an agent's socket",
    'Each session has a socket of its own in its container (`HUB_SOCKET`). The SDK and the shim ask on it; whoever writes another client needs [docs/protocol.md](../protocol.md) for tokens, signatures and frames. Its list of artifacts is that of its own task and of the children of that task. Not in openapi.json: some paths are the same as above, and every request is signed.',
    table(
      ['Operation', 'Request', 'What it does'],
      names.map((name) => [...row(name), ANSWERS[name].does]),
    ),
    ...own.flatMap((name) =>
      chapter({ name, ...AGENT_ROUTES[name], ...ANSWERS[name], request: schemaOf(OPERATIONS[name].request, 'input') }),
    ),
  ]
}

export const apiPage = (): string =>
  page(
    'HTTP API',
    '`hub/protocol/operations.ts`, `routes.ts`, `answers.ts`, `views.ts` and `views-guard.ts`',
    'The same API answers at two places: on `HOME/run/operator.sock` for the account that may open that socket, and on loopback (`http.port`, 7300) to devices and tokens, which send `Authorization: Bearer SECRET`. Requests and answers are JSON; a body needs `Content-Type: application/json`. For programs: [openapi.json](openapi.json). Who may do what: [actions.md](actions.md). What a refusal means: [errors.md](errors.md).',
    'A POST that starts something may carry `Idempotency-Key`, up to 128 visible characters: the same key by the same sender is answered with the first outcome. An unknown field is refused by name. Lists come in pages: `next` of an answer is the `cursor` of the next request.',
    '```sh\ncurl --unix-socket ~/.hub/run/operator.sock http://hub/v1/health\n```',
    ...served.flatMap(chapter),
    ...agentChapter(),
  )

/** The whole API as an OpenAPI document. */
export function openApi(version: string): Json {
  const problem = { $ref: '#/components/responses/Problem' }
  const paths: Record<string, Json> = {}
  for (const one of served) {
    const { name, method, path, does, answer } = one
    const properties = propertiesOf(one)
    const isQuery = method !== 'POST'
    const parameters = properties
      .filter(([key]) => inPath(one, key) || isQuery)
      .map(([key, schema]) => ({
        name: key,
        in: inPath(one, key) ? 'path' : 'query',
        required: inPath(one, key) || requiredOf(one).includes(key),
        schema,
      }))
    const body = properties.filter(([key]) => !inPath(one, key))
    const needed = requiredOf(one).filter((key) => body.some(([each]) => each === key))
    const requestBody =
      name === 'artifact.put'
        ? { required: true, content: { 'application/octet-stream': {} } }
        : method === 'POST' && body.length > 0
          ? {
              required: needed.length > 0,
              content: {
                'application/json': {
                  schema: {
                    type: 'object',
                    properties: Object.fromEntries(body),
                    ...(needed.length > 0 ? { required: needed } : {}),
                    additionalProperties: false,
                  },
                },
              },
            }
          : undefined
    const content =
      answer !== null
        ? { 'application/json': { schema: schemaOf(answer, 'output') } }
        : name === 'event.stream'
          ? { 'text/event-stream': { schema: { type: 'string' } } }
          : { 'application/octet-stream': {} }
    const at = path.replaceAll(/:(\w+)/g, '{$1}')
    paths[at] = {
      ...paths[at],
      [method.toLowerCase()]: {
        operationId: name,
        summary: does,
        ...(parameters.length > 0 ? { parameters } : {}),
        ...(requestBody === undefined ? {} : { requestBody }),
        responses: { '200': { description: 'done', content }, default: problem },
      },
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'hub',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description: 'A hub for AI agents. Devices and tokens ask on loopback; the operator on the socket of the home.',
    },
    servers: [{ url: 'http://127.0.0.1:7300' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      responses: {
        Problem: {
          description: `A refusal (RFC 9457); its code is one of ${Object.keys(ERRORS).join(', ')}`,
          content: { 'application/problem+json': { schema: schemaOf(problemShape, 'output') } },
        },
      },
    },
  }
}
