/**
 * The one place of this process that knows which API version is spoken. Asked before each call; agreed when first asked, and anew once it
 * was forgotten: after a call that the engine refused for its version, that broke, or whose answer came from another engine than before.
 */

import { agreeApi } from '../../base/engine-api.ts'
import { HubError } from '../../base/errors.ts'

export interface Told {
  /** What was answered to `GET /version`, parsed; undefined where it is no JSON. */
  said: unknown
  /** The engine's newest version as the head of each of its answers names it. */
  head: string | undefined
}

export interface ApiAgreement {
  /** The version to speak, such as `1.44`. Throws `engine_unavailable` where none can be agreed. */
  api(): Promise<string>
  /** Asks the engine again and answers all that it said. */
  again(): Promise<{ api: string; said: Record<string, unknown> }>
  /** The next call asks again. */
  forget(): void
  /** Looks at the head of an answer: whether another engine gave it than the one that was asked for its versions, which is then asked again. */
  heard(head: string | undefined): 'same' | 'another'
  /** The engine does not speak what it says that it speaks: asked again before the next call. Answers what to throw. */
  refused(why: string, mend: string): HubError
  /** Why nothing can be agreed with an engine that does answer, and what to do; undefined otherwise. */
  disagreement(): string | undefined
}

/** An engine that answers and cannot be spoken with: unlike one that is away, starting it changes nothing. */
function disagreed(why: string, mend: string): HubError {
  return new HubError(
    'engine_unavailable',
    `the container engine and the hub agree on no API version: ${why}; ${mend}`,
    {
      facts: { mend },
    },
  )
}

export function createApiAgreement(ask: () => Promise<Told>): ApiAgreement {
  let agreed: { api: string; said: Record<string, unknown> } | undefined
  let head: string | undefined
  let asking: Promise<{ api: string; said: Record<string, unknown> }> | undefined
  let disagreement: string | undefined

  function refused(why: string, mend: string): HubError {
    const error = disagreed(why, mend)
    disagreement = error.message
    agreed = undefined
    return error
  }

  async function agree() {
    const told = await ask()
    const found = agreeApi(told.said)
    if ('why' in found) throw refused(found.why, found.mend)
    disagreement = undefined
    head = told.head
    agreed = { api: found.api, said: told.said as Record<string, unknown> }
    return agreed
  }
  const again = () => {
    asking ??= agree().finally(() => {
      asking = undefined
    })
    return asking
  }
  const forget = () => {
    agreed = undefined
  }
  return {
    api: async () => (agreed ?? (await again())).api,
    again,
    forget,
    heard(found) {
      if (found === undefined || head === undefined || found === head) return 'same'
      forget()
      return 'another'
    },
    refused,
    disagreement: () => disagreement,
  }
}
