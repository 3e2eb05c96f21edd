/** The answer to inspect as Engine 29 was measured to give it, by API version and image store, made of that of 20.10. */
type Row = Record<string, unknown>
export type Store = 'overlay2' | 'containerd'

/** Every version at which the answer changes, and the ones before and after. */
export const MEASURED: readonly (readonly [minor: number, store: Store])[] = [
  [44, 'overlay2'],
  [44, 'containerd'],
  [47, 'containerd'],
  [48, 'containerd'],
  [51, 'containerd'],
  [52, 'overlay2'],
  [52, 'containerd'],
  [56, 'overlay2'],
  [56, 'containerd'],
]

/** `minor`: of the API version 1.x that inspect was asked in, 44 at least. */
export function asEngine29<Answer extends Row & { Config: Row; HostConfig: Row }>(
  answer: Answer,
  minor: number,
  store: Store,
): Answer {
  const { KernelMemory: _gone, KernelMemoryTCP: _tcp, ...host } = answer.HostConfig
  const { OnBuild: _build, ...config } = answer.Config
  const image = String(answer.Image)
  const { GraphDriver, ...rest } = answer
  return {
    ...rest,
    HostConfig: host,
    Config: config,
    ...(store === 'overlay2' || minor < 52
      ? { GraphDriver }
      : { Storage: { RootFS: { Snapshot: { Name: 'overlayfs' } } } }),
    ...(store === 'containerd' ? { Driver: 'overlayfs' } : {}),
    ...(store === 'containerd' && minor >= 48
      ? {
          ImageManifestDescriptor: {
            mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
            digest: image,
            size: 738,
            annotations: { 'io.containerd.image.name': 'docker.io/hub/echo:latest' },
            platform: { architecture: 'amd64', os: 'linux' },
          },
        }
      : {}),
  } as unknown as Answer
}
