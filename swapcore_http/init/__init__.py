"""How does somebody who has models come to a first configuration?"""
