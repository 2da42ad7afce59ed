"""The guarded fetcher: media from addresses that anybody may have written, in bounded time and memory."""
