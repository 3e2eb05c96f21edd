/**
 * Whether an agent may use the model that somebody asks of it (S4-6): one of the model upstreams of its card must know what it costs, or else
 * each call for it would be refused later. Of an agent without such an upstream the hub knows nothing, and says nothing.
 */
import type { HubError } from '../../base/errors.ts'
import { covers } from '../../protocol/egress/grants.ts'
import { CLASSES_OF, type Upstream } from '../../protocol/egress/upstreams.ts'
import { createPrices } from './money/prices.ts'

export interface AskedModelOptions {
  home: string
  /** The folder of `prices.yaml` as shipped. */
  bundleFolder: string
  /** As declared now. */
  upstreams: readonly Pick<Upstream, 'name' | 'kind' | 'free'>[]
}

/**
 * Throws `model_unknown` where none of the upstreams that these grants lead to has a price for the model, and `config_invalid` while a file of
 * prices has a fault.
 */
export function createAskedModels(options: AskedModelOptions): (egress: readonly string[], model: string) => void {
  const prices = createPrices({ home: options.home, shippedFolder: options.bundleFolder })
  return (egress, model) => {
    let refusal: HubError | undefined
    for (const { name, kind, free } of options.upstreams) {
      const isMetered = CLASSES_OF[kind].includes('metered')
      if (!isMetered || !egress.some((grant) => covers(grant, { upstream: name, class: 'metered' }))) continue
      if (free) return
      try {
        prices.require(name, model)
        return
      } catch (thrown) {
        refusal ??= thrown as HubError
      }
    }
    if (refusal !== undefined) throw refusal
  }
}
