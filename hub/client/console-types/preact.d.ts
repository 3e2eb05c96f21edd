/** The package, as the page is served it beside its own files: all that the page takes of it. */
export declare const h: unknown
export declare function render(tree: unknown, parent: Element): void
