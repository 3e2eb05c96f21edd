/** What a program is told of its way out (docs/egress.md 1). */
import type { HandedEgress } from '../../hub/protocol/egress/placeholders.ts'

export const EGRESS_HOST = '127.0.0.1'
/** 8080 is what servers under development take. Another one only for tests of the shim outside of a container. */
export const EGRESS_PORT = Number(process.env.HUB_EGRESS_PORT ?? 47_080)
const BASE = `http://${EGRESS_HOST}:${EGRESS_PORT}`
const NOT_BY_PROXY = '127.0.0.1,localhost'

/** Of each kind of model server, what its usual clients read: their base address with the path that they expect in it, and their key. */
const CLIENTS = {
  anthropic: { url: 'ANTHROPIC_BASE_URL', path: '', key: 'ANTHROPIC_API_KEY' },
  openai: { url: 'OPENAI_BASE_URL', path: '/v1', key: 'OPENAI_API_KEY' },
  google: { url: 'GOOGLE_GEMINI_BASE_URL', path: '', key: 'GEMINI_API_KEY' },
} as const

const baseOf = (name: string) => `${BASE}/up/${name}`
const wordOf = (name: string) => name.toUpperCase().replaceAll('-', '_')

/** Variables that the card may set otherwise. Those of usual clients only where no other upstream could be meant. */
function offered({ upstreams }: HandedEgress): Record<string, string> {
  const own = upstreams.flatMap(({ name, placeholder }) => [
    [`HUB_EGRESS_${wordOf(name)}`, baseOf(name)],
    [`HUB_PLACEHOLDER_${wordOf(name)}`, placeholder],
  ])
  const usual = Object.entries(CLIENTS).flatMap(([kind, { url, path, key }]) => {
    const [one, ...more] = upstreams.filter((each) => each.kind === kind)
    if (one === undefined || more.length > 0) return []
    return [
      [url, `${baseOf(one.name)}${path}`],
      [key, one.placeholder],
    ]
  })
  return Object.fromEntries([...own, ...usual]) as Record<string, string>
}

/** Everybody's proxy variables, in both spellings: most programs read one of the two. */
function fixed({ lines }: HandedEgress): Record<string, string> {
  const proxy = lines.length === 0 ? {} : { HTTPS_PROXY: BASE, https_proxy: BASE }
  return { HUB_EGRESS: BASE, NO_PROXY: NOT_BY_PROXY, no_proxy: NOT_BY_PROXY, ...proxy }
}

const PROXIES = /^(?:http|https|all)_proxy$/i

/**
 * The card's variables with those of the way out; the same object where there is none. A card that names another proxy would lead its program
 * nowhere: no proxy but this one is there, and it takes no plain requests.
 */
export function withEgress(
  env: Readonly<Record<string, string>>,
  egress: HandedEgress | undefined,
): Readonly<Record<string, string>> {
  if (egress === undefined) return env
  const given = Object.entries(env).filter(([name]) => !PROXIES.test(name))
  return { ...offered(egress), ...Object.fromEntries(given), ...fixed(egress) }
}
