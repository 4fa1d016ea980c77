"""What files a folder has, wherever it is: the rsync program, HTTP index pages, FTP, plain lists.

This room knows no mirrors and no catalog. Each reader gives its entries in batches as they come,
holds no more of a listing than it must, and raises ListingError for everything that makes a
listing less than whole: what was read until then is not the folder's content.
"""
