// Package lmdb reads and writes LMDB files: the table type lmdb:
// (spec tables §14.4).
package lmdb
