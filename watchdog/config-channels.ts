/** The alert channels of the configuration: their shapes and their strict reading. */
import { isRow, onlyKeys, refuse, text, whole } from './config-fields.ts'

export interface EmailChannel {
  readonly kind: 'email'
  readonly host: string
  readonly port: number
  readonly from: string
  readonly to: string
  readonly secure: boolean
  /** Names of environment variables; the secrets themselves never stand in the file. */
  readonly userEnv: string | null
  readonly passwordEnv: string | null
}
export type Channel = { readonly kind: 'file' } | EmailChannel

/** One entry of `channels`. @throws StartError */
export function channelOf(value: unknown, index: number): Channel {
  const where = `channels[${index}].`
  if (!isRow(value)) refuse(`channels[${index}]`, 'must be an object with a kind')
  if (value.kind === 'file') {
    onlyKeys(value, ['kind'], where)
    return { kind: 'file' }
  }
  if (value.kind !== 'email') refuse(`${where}kind`, 'must be file or email')
  onlyKeys(value, ['kind', 'host', 'port', 'from', 'to', 'secure', 'userEnv', 'passwordEnv'], where)
  const secure = value.secure === undefined ? false : value.secure
  if (typeof secure !== 'boolean') refuse(`${where}secure`, 'must be true or false')
  return {
    kind: 'email',
    host: text(value, 'host'),
    port: whole(value, 'port', [secure ? 465 : 587, 1, 65_535]),
    from: text(value, 'from'),
    to: text(value, 'to'),
    secure,
    userEnv: value.userEnv === undefined ? null : text(value, 'userEnv'),
    passwordEnv: value.passwordEnv === undefined ? null : text(value, 'passwordEnv'),
  }
}
