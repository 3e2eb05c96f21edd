/**
 * Where programs of models report to and ask for updates. A try to reach them is refused like any other, and nobody is asked about it: it would
 * be asked about at each start of each program.
 */
const HOSTS = [
  'api.segment.io',
  'app.posthog.com',
  'us.i.posthog.com',
  'eu.i.posthog.com',
  'sentry.io',
  'statsig.anthropic.com',
  'api.statsig.com',
  'statsigapi.net',
  'featuregates.org',
  'events.statsigapi.net',
  'http-intake.logs.datadoghq.com',
  'browser-intake-datadoghq.com',
  'play.googleapis.com',
  'www.google-analytics.com',
  'ab.chatgpt.com',
  'telemetry.nextjs.org',
  'update.code.visualstudio.com',
  'dc.services.visualstudio.com',
  'api.honeycomb.io',
  'checkpoint-api.hashicorp.com',
] as const

/** Whether reports or updates go to this host, or to one below it. */
export const isTelemetry = (host: string): boolean => HOSTS.some((each) => host === each || host.endsWith(`.${each}`))
