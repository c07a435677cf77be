// Names, which others choose.

const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu;

/** Return a name with everything escaped that is invisible, so that no two names look alike by it. */
export function visible(name) {
  return name.replace(INVISIBLE, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}
