package collection

var Readable = readable
