import { PandaError } from "../../../packages/p2panda/dist/index.js";

const PICTURE_BYTES = 300_000;
/** Kinds that are shown, with how their files begin. */
const KINDS: [string, RegExp][] = [
  ["image/png", /^\x89PNG\r\n\x1a\n/],
  ["image/jpeg", /^\xff\xd8\xff/],
  ["image/gif", /^GIF8[79]a/],
  ["image/webp", /^RIFF[^]{4}WEBP/],
  ["image/avif", /^[^]{4}ftyp(avif|avis|mif1)/],
];

/** Whether pictures of this kind are shown. */
export function isPicture(type: string): boolean {
  return KINDS.some(([kind]) => kind === type);
}

/** The content of a chosen file, if it is a picture that the chat can show. */
export async function readPicture(file: File): Promise<{ type: string; bytes: Uint8Array }> {
  if (file.size > PICTURE_BYTES) throw new PandaError("picture-large", "too large a picture");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const begin = String.fromCharCode(...bytes.slice(0, 16));
  // A name may say anything.
  const type = KINDS.find(([, start]) => start.test(begin))?.[0];
  if (type === undefined || !(await decodes(new Blob([bytes], { type })))) {
    throw new PandaError("picture-unknown", "no picture that can be shown");
  }
  return { type, bytes };
}

async function decodes(blob: Blob): Promise<boolean> {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    return image.naturalWidth > 0;
  } catch {
    return false;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
