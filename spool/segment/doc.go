// Package segment is the format of a spool's segment files: see FORMAT.md for the byte table. It needs the standard
// library only, so that whoever receives segments in the native format can decode them without the rest of Penstock.
package segment
