/**
 * What a model costs (docs/egress.md): the shipped `policies/prices.yaml`, and over it `prices.yaml` of the home.
 *
 * P1. A price is a whole number of millionths of a US dollar for a million tokens. A finer price is refused: what such prices add up to is
 *     exact only in whole numbers.
 * P2. A model that is in neither file has no price, and a metered call for it is refused. No price is guessed from a similar name.
 * P3. While one of the files has a fault, nothing has a price. The refusal names the file, the line and the key.
 * P4. The version of a price is a digest of its figures. A reservation keeps the figures themselves, so an edited file changes no call that
 *     is under way.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { z } from 'zod'
import { digestOf } from '../../../base/canonical.ts'
import { diskProblem } from '../../../base/disk-words.ts'
import { HubError } from '../../../base/errors.ts'
import { nearest } from '../../../base/nearest.ts'
import { textOfPlainFile } from '../../../base/plain-file.ts'
import { firstOf, judgeYaml } from '../../../protocol/judging.ts'
import { HOME_PRICES, homePricesShape, type ModelPrice, shippedPricesShape } from '../../../protocol/prices.ts'

/** A model with its price. `model` is its canonical name. */
export interface Price extends Omit<ModelPrice, 'aliases' | 'source'> {
  model: string
  /** A digest of the figures (P4). */
  version: string
  source: string
  /** Its other names, as an answer may have them. */
  names: readonly string[]
}

export interface Prices {
  /** Of one upstream. Undefined for a model without a price. Throws `config_invalid` while a file has a fault (P3). */
  find(upstream: string, model: string): Price | undefined
  /** As `find`; throws `model_unknown` with the key to set and the nearest names. */
  require(upstream: string, model: string): Price
  /** `fault`: what is wrong with a file, with its line; null if nothing is. `dated`: the day of the shipped prices. */
  state(): { fault: string | null; dated: string | null }
}

type Models = Readonly<Record<string, ModelPrice>>
interface Tables {
  shipped: z.output<typeof shippedPricesShape>
  home: z.output<typeof homePricesShape>
}

export function createPrices(options: { home: string; shippedFolder: string }): Prices {
  const paths = [join(options.shippedFolder, 'prices.yaml'), join(options.home, HOME_PRICES)] as const
  let seen = ''
  let tables: Tables | undefined
  /** Found before in these tables; what has no price is not kept, since anybody may name anything. */
  const found = new Map<string, Price>()

  /** The files are read again when one of them has changed. */
  function current(): Tables {
    const marks = paths.map(markOf).join(' ')
    if (tables !== undefined && marks === seen) return tables
    tables = undefined
    found.clear()
    const [shippedPath, homePath] = paths
    const shipped = read(shippedPath, shippedPricesShape)
    if (shipped === undefined)
      throw new HubError('config_invalid', `${shippedPath} is not there; put it back as it was`)
    tables = { shipped, home: read(homePath, homePricesShape) ?? { models: {}, upstreams: {} } }
    seen = marks
    return tables
  }

  const sourcesOf = ({ shipped, home }: Tables, upstream: string): readonly [Models, string][] => [
    [Object.hasOwn(home.upstreams, upstream) ? (home.upstreams[upstream]?.models ?? {}) : {}, HOME_PRICES],
    [home.models, HOME_PRICES],
    [shipped.models, shipped.source],
  ]

  function find(upstream: string, model: string): Price | undefined {
    const now = current()
    const key = `${upstream} ${model}`
    const known = found.get(key) ?? look(now, upstream, model)
    if (known !== undefined) found.set(key, known)
    return known
  }
  function look(now: Tables, upstream: string, model: string): Price | undefined {
    const known = rowIn(now, upstream, model)
    if (known === undefined) return undefined
    const { name, row, from } = known
    const { aliases, source = from, ...figures } = row
    const version = digestOf('hub-price-v1', { name, ...figures }).slice(0, 12)
    // A name may stand for another model in a file that comes first.
    const names = aliases.filter((alias) => rowIn(now, upstream, alias)?.row === row)
    return { model: name, ...figures, source, version, names }
  }
  function rowIn(now: Tables, upstream: string, model: string) {
    for (const [models, from] of sourcesOf(now, upstream)) {
      const name = Object.hasOwn(models, model) ? model : aliasIn(models, model)
      const row = name === undefined ? undefined : models[name]
      if (name !== undefined && row !== undefined) return { name, row, from }
    }
    return undefined
  }

  return {
    find,
    state() {
      try {
        return { fault: null, dated: current().shipped.dated }
      } catch (thrown) {
        if (!(thrown instanceof HubError)) throw thrown
        return { fault: thrown.message, dated: null }
      }
    },
    require(upstream, model) {
      const price = find(upstream, model)
      if (price !== undefined) return price
      const known = sourcesOf(current(), upstream).flatMap(([models]) => Object.keys(models))
      const near = nearNames(model, known)
      const like = near.length === 0 ? '' : `; the nearest names with a price: ${near.join(', ')}`
      const shown = JSON.stringify(model.slice(0, 100))
      throw new HubError(
        'model_unknown',
        `no price is known of the model ${shown}: set models.${shown} in ${HOME_PRICES} of the home (\`hub upstream price ${upstream} MODEL --input DOLLARS --output DOLLARS\`)${like}`,
      )
    },
  }
}

function aliasIn(models: Models, model: string): string | undefined {
  return Object.entries(models).find(([, { aliases }]) => aliases.includes(model))?.[0]
}

/** Another time, size or file is another text. */
function markOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? '-' : `${found.ino}:${found.size}:${found.mtimeMs}`
}

function read<Shape extends z.ZodType>(path: string, shape: Shape): z.output<Shape> | undefined {
  let text: string | undefined
  try {
    text = textOfPlainFile(path)
  } catch (thrown) {
    throw thrown instanceof HubError ? thrown : diskProblem(thrown, path)
  }
  if (text === undefined) return undefined
  const { value, faults } = judgeYaml(text, shape)
  if (value === undefined)
    throw new HubError('config_invalid', `${path} ${firstOf(faults)}; until it is corrected no model has a price`)
  return value
}

const NEAR_MAX = 3
const SHARED_MIN = 4
const sharedLength = (a: string, b: string): number => {
  let at = 0
  while (at < a.length && a[at] === b[at]) at += 1
  return at
}

/** The one that was probably meant, then those that begin most like it. */
function nearNames(model: string, known: readonly string[]): string[] {
  const meant = nearest(model, known)
  const alike = known
    .map((name) => ({ name, shared: sharedLength(name, model) }))
    .filter(({ shared }) => shared >= SHARED_MIN)
    .sort((a, b) => b.shared - a.shared || a.name.localeCompare(b.name))
    .map(({ name }) => name)
  return [...new Set([...(meant === undefined ? [] : [meant]), ...alike])].slice(0, NEAR_MAX)
}
