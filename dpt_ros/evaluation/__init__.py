"""How good depth is: protocols, scores of frames, and what becomes of them over a recording.

Scoring knows neither networks nor ROS: it takes what was predicted and what is true.
"""
